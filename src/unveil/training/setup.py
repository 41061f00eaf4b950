"""What a configuration describes: the measurements and their split, the operator, and the estimator before training."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unveil.config import Config, DataConfig
from unveil.data import Gaps, ImageSource, Measured, Subset, have_datasets, open_images
from unveil.errors import UnveilError
from unveil.estimators import WRAPPED, Preconditioned, Stationary, UNet, inputs
from unveil.instruments.files import read_real
from unveil.instruments.instrument import Instrument, load
from unveil.instruments.registry import INSTRUMENTS, build_operator
from unveil.operators.base import Operator
from unveil.random import make_generator
from unveil.training.detector import without_pattern
from unveil.words import counted

__all__ = [
    "build_estimator", "check_form", "data_at", "held_out", "indices", "instrument", "open_measurements",
    "open_operator", "open_source", "possible_scales", "signal_mean", "split", "with_gaps",
]  # fmt: skip


def build_estimator(
    config: Config, channels: int, operator: Operator, uneven: bool = False, backbone: nn.Module | None = None
) -> nn.Module:
    """Return f(m) with weights drawn from the configuration's seed alone.

    channels: of the measurements; those of the images where the operator does not tell. uneven: whether the
    noise's deviation differs between entries (`Noise.uneven`).
    backbone: g in place of the UNet; its weights stay as they are.
    Raises UnveilError for a form that does not fit, and for a backbone that takes or gives other channels.
    """
    form = config.estimator
    shape = operator.image_shape
    colours = channels if shape is None else shape[0]
    if form.form in WRAPPED and backbone is None:
        check_form(config, operator, uneven)
        with _seeded(config):
            return WRAPPED[form.form](colours, form.widths, form.blocks)
    mean = signal_mean(config)
    chosen = form.prior or instrument(config).prior
    prior = None if chosen == "white" or shape is None else Stationary(shape, mean, form.std)
    camera = bool(config.loss.camera) and bool(operator.unseen)
    views = inputs(operator, not uneven, prior is not None, form.iterations, camera)
    with _seeded(config):
        if backbone is None:
            backbone = UNet(views * colours, form.widths, form.blocks, colours, levels=1 + camera)
        else:
            check_backbone(backbone, views * colours, colours, 1 + camera)
        return Preconditioned(
            backbone,
            mean,
            form.std,
            scale=operator.spectral_norm(),
            views=views,
            iterations=form.iterations,
            prior=prior,
            camera=camera,
        )


def check_form(config: Config, operator: Operator, uneven: bool) -> None:
    """Raise UnveilError for an estimator that is not of such measurements."""
    form = config.estimator.form
    if form in WRAPPED and (operator.unseen or uneven):
        raise UnveilError(
            f"estimator.form = {form} is for complete images in noise that their brightness or place does not change; "
            "use preconditioned"
        )


@torch.no_grad()
def check_backbone(backbone: nn.Module, channels: int, colours: int, levels: int = 1) -> None:
    """Raise UnveilError unless g takes (B, channels, H, W) and (B,), or (B, levels), and gives (B, colours, H, W)."""
    given = f"u of {channels} channels and c, {'one number' if levels == 1 else f'{levels} numbers'} a sample"
    try:
        out = backbone(torch.zeros(2, channels, 64, 64), torch.zeros(2) if levels == 1 else torch.zeros(2, levels))
    except Exception as error:  # whatever a network of the user's raises
        reason = " ".join(str(error).split())[:160]
        raise UnveilError(
            f"the backbone {type(backbone).__name__} cannot be called as g(u, c), {given}: {reason}"
        ) from None
    if not isinstance(out, Tensor) or out.shape != (2, colours, 64, 64):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise UnveilError(
            f"the backbone {type(backbone).__name__} makes {shape} of {given}, 2 x 64 x 64 pixels: it must be (2, "
            f"{colours}, 64, 64)"
        )


@contextmanager
def _seeded(config: Config) -> Iterator[None]:
    """Seed a copy of the global generator within the block: torch's initialisers take none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        yield


def instrument(config: Config) -> Instrument:
    """Return what is known of the instrument that the configuration names."""
    return INSTRUMENTS[config.operator.kind]


def signal_mean(config: Config) -> float:
    """Return m, of the images: as stated, or the usual one of the system's."""
    stated = config.estimator.mean
    return instrument(config).mean if stated is None else stated


SMALLEST_DILATED = 16
"""Pixels across the coarsest image that a network is trained on."""


def possible_scales(config: Config, source: ImageSource, operator: Operator) -> tuple[int, ...]:
    """Return the scales at which measurements can be learned from: those of `loss.scales` that fit, (1,) if none does.

    Raises UnveilError when the smallest image is smaller than a crop, or a mask does not measure what a scale needs.
    """
    crop = config.training.crop
    first = operator.select(torch.zeros(1, dtype=torch.long))
    if operator.window((0, 0, crop, crop)) is not None:
        smallest, which = source.smallest()
        if smallest < crop:
            raise UnveilError(
                f"{source.where(which)}, the smallest image, has {smallest} pixels across, less than the crop of "
                f"{crop}; lower training.crop, or leave it out"
                + (f"; or are channels where (C, H, W) = {source.shape(which)} has its sides?" if smallest < 5 else "")
            )
        fit = [k for k in config.loss.scales if k * crop <= smallest]
    elif first.image_shape is None or first.coarser(1) is None:
        fit = [1]
    else:
        _, height, width = first.image_shape
        least = SMALLEST_DILATED
        fit = [k for k in config.loss.scales if height % k == width % k == 0 and min(height, width) >= k * least]
        for k in fit:
            first.coarser(k)
    return tuple(fit) or (1,)


def open_operator(config: Config, source: ImageSource, count: int | None = None) -> Operator:
    """Return the operator of the measurements in `source`, as `config.operator` describes it.

    count: of the measurements that the system's files describe, where some of them are gone.
    Raises UnveilError when their shapes differ, or the system does not fit them or has a wrong adjoint.
    """
    if not instrument(config).sees_all:
        check_one_shape(source)
    shape = source.shape(0)
    if (check := instrument(config).check) is not None:
        load(check)(config.operator, source)
    estimate = instrument(config).estimate
    operator = None if estimate is None else load(estimate)(config.operator, source)
    operator = operator or build_operator(config.operator, shape, count or len(source))
    first = operator.select(torch.zeros(1, dtype=torch.long))
    first.check_adjoint(torch.zeros(1, *shape), make_generator("cpu", 0))
    return operator


def check_one_shape(source: ImageSource) -> None:
    """Raise UnveilError unless all measurements have one shape."""
    shape = source.shape(0)
    for i in range(len(source)):
        if source.shape(i) != shape:
            raise UnveilError(
                f"{source.where(i)} has shape {source.shape(i)} and {source.where(0)} {shape}: measurements by one "
                "system have one shape; leave the others out"
            )


def data_at(path: str | os.PathLike[str], config: Config) -> DataConfig:
    """Return the section data of measurements at `path`, which are read as those of the training are.

    Where no file there has datasets, none is named.
    """
    dataset = config.data.dataset if have_datasets(path) else None
    return config.data.model_copy(update={"path": os.fspath(path), "dataset": dataset})


Unreadable = Callable[[UnveilError], object]


def open_source(config: Config, unreadable: Unreadable | None = None) -> ImageSource:
    """Return the images that the configuration names, as they are stored but for the pattern of their detector.

    unreadable: as in `open_images`.
    """
    data = config.data
    source = open_images(
        data.path, dataset=data.dataset, axes=data.axes, value_range=data.value_range, unreadable=unreadable
    )
    return without_pattern(config.noise, source)


def with_gaps(config: Config, source: ImageSource) -> ImageSource:
    """Return the images with gaps where the configuration says that their pixels are saturated or dead.

    Raises UnveilError when the file of the dead ones cannot be read, or is of other channels.
    """
    data = config.data
    if data.saturated is None and data.dead is None:
        return source
    dead = None
    if data.dead is not None:
        dead = torch.from_numpy(read_real(data.dead, "data.dead")) != 0
        dead = dead if dead.ndim == 3 else dead[None]
        if dead.ndim != 3 or len(dead) not in (1, source.channels):
            raise UnveilError(
                f"data.dead: {data.dead} has shape {tuple(dead.shape)}; it must be (H, W), or (C, H, W) with the "
                f"{counted(source.channels, 'channel')} of the images"
            )
    return Gaps(source, data.saturated, dead)


def open_measurements(
    config: Config, path: str | None = None, unreadable: Unreadable | None = None
) -> tuple[ImageSource, Operator]:
    """Return the measurements that the configuration names, or those at `path`, and the operator that made them.

    unreadable: as in `open_images`. Entries that are not measured are zero, whatever the files hold there. Raises
    UnveilError where `open_operator` does.
    """
    if path is not None:
        config = config.model_copy(update={"data": data_at(path, config)})
    source = open_source(config, unreadable)
    operator = open_operator(config, source)
    return Measured(source, operator), operator


def split(
    source: ImageSource, config: Config, count: int | None = None, numbers: Sequence[int] | None = None
) -> tuple[ImageSource, ImageSource]:
    """Return (training images, held-out images).

    With fewer than two images, or a share of 0, both are all of them.

    count, numbers: where images are gone since the run began, how many there were, and the numbers of these among them:
    each stays on its side.
    """
    count, numbers = count or len(source), numbers or range(len(source))
    out = held_out(config, count)
    if not out:
        return source, source
    training = [i for i, number in enumerate(numbers) if number not in out]
    if not training:
        raise UnveilError(f"{config.data.path}: no image for training is left; put back those that are gone")
    rest = [i for i, number in enumerate(numbers) if number in out]
    return source.subset(training), source.subset(rest or training)


def held_out(config: Config, count: int) -> set[int]:
    """Return the numbers of those of `count` images that are not learned from; none where all are."""
    most = round(config.data.validation * count)
    if config.data.validation > 0:
        most = min(max(1, most), count - 1)
    if most == 0 or count < 2:
        return set()
    return set(torch.randperm(count, generator=make_generator("cpu", config.seed, 1)).tolist()[:most])


def indices(part: ImageSource) -> list[int]:
    """Return which measurements of the whole data `split` put in `part`."""
    return part.indices if isinstance(part, Subset) else list(range(len(part)))
