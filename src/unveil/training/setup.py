"""What a configuration describes: the measurements and their split, the problem, and the estimator before training."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from unveil.config import Config
from unveil.data import ImageSource, Measured, Subset, open_images
from unveil.data.uvfits import observations
from unveil.errors import UnveilError
from unveil.estimators import ESTIMATORS, Reconstruction, Stationary, UNet
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator

__all__ = [
    "WITHOUT_ESTIMATE", "build_estimator", "build_reconstruction", "indices", "open_measurements", "open_problem", "open_source",
    "possible_coarsening", "possible_dilation", "signal_mean", "split",
]  # fmt: skip


def build_estimator(config: Config, channels: int, problem: Problem | Several = DENOISING) -> nn.Module:
    """f(y, sigma) with weights drawn from the configuration's seed alone.

    channels: of the measurements. problem: of incomplete measurements, whose estimator is f(y, sigma, problem).
    """
    form = config.estimator
    with torch.random.fork_rng(devices=[]):  # torch's initialisers take no generator: seed a copy of the global one
        torch.manual_seed(config.seed)
        if problem is DENOISING:
            return ESTIMATORS[form.form](channels, form.widths, form.blocks)
    return build_reconstruction(config, problem)


def build_reconstruction(config: Config, problem: Problem | Several) -> Reconstruction:
    """f(y, sigma, problem), with weights drawn from the configuration's seed alone."""
    form = config.estimator
    if problem.image_shape is None:
        raise UnveilError("a problem without an operator is denoised, not reconstructed: build_estimator serves it")
    colours = problem.image_shape[0]
    mean = signal_mean(config)
    chosen = form.prior or ("white" if config.system.kind in WHITE else "stationary")
    prior = Stationary(problem.image_shape, mean, form.deviation) if chosen == "stationary" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = UNet(2 * colours, form.widths, form.blocks, out_channels=colours)
        return Reconstruction(backbone, problem, mean, form.deviation, form.iterations, prior)


def signal_mean(config: Config) -> float:
    """m, of the images: as stated, or the usual one of the system's."""
    stated = config.estimator.mean
    return MEANS.get(config.system.kind, 0.5) if stated is None else stated


MEANS = {"mri": 0.0, "interferometry": 0.0, "cryoem": 0.0}
"""Of images whose zero is their background."""

WHITE = ("mri", "interferometry", "tomography")
"""Systems that measure Fourier coefficients, of which a stationary prior cannot tell one from another, or that are slow to apply."""

WITHOUT_ESTIMATE = ("inpainting", "demosaicing", "mri", "interferometry")
"""Systems whose measurements do not look like images with noise: their level cannot be estimated from them."""


SMALLEST_DILATED = 16
"""Pixels across the coarsest image that a network is trained on."""


def possible_coarsening(config: Config, problem: Problem | Several) -> tuple[int, ...]:
    """The factors of `risk.dilation` by which measurements of Fourier coefficients can be dilated; 1 for other systems."""
    first = problem.at(torch.zeros(1, dtype=torch.long))
    if first.coarsen is None or first.image_shape is None:
        return (1,)
    _, height, width = first.image_shape
    fit = [
        k for k in config.risk.dilation if height % k == width % k == 0 and min(height, width) >= k * SMALLEST_DILATED
    ]
    for k in fit:
        first.coarser(k)
    return tuple(fit) or (1,)


def possible_dilation(config: Config, source: ImageSource) -> tuple[int, ...]:
    """The block sizes whose windows fit the smallest image. Raises UnveilError when not even a crop does."""
    sides = [min(source.shape(i)[1:]) for i in range(len(source))]
    smallest = min(sides)
    dilation = tuple(k for k in config.risk.dilation if k * config.training.crop <= smallest)
    if not dilation:
        raise UnveilError(
            f"{source.where(sides.index(smallest))}, the smallest image, has {smallest} pixels across, less than the crop of "
            f"{config.training.crop}; lower training.crop, or leave it out"
        )
    return dilation


def open_problem(config: Config, source: ImageSource, count: int | None = None) -> Problem | Several:
    """The problem of the measurements in `source`, as `config.system` describes it.

    count: of the measurements that the system's files describe, where some of them are gone.
    Raises UnveilError when their shapes differ, or the system does not fit them or has a wrong adjoint.
    """
    if config.system.kind == "identity":
        return DENOISING
    from unveil.operators import build_problem, check_observations  # deepinv loads late

    shape = source.shape(0)
    for i in range(len(source)):
        if source.shape(i) != shape:
            raise UnveilError(
                f"{source.where(i)} has shape {source.shape(i)} and {source.where(0)} {shape}: measurements by one system "
                "have one shape; leave the others out"
            )
    if config.system.kind == "interferometry":
        check_observations(config.system, observations(source))
    problem = build_problem(config.system, shape, count or len(source))
    problem.at(torch.zeros(1, dtype=torch.long)).check_adjoint(torch.zeros(1, *shape), make_generator("cpu", 0))
    return problem


Unreadable = Callable[[UnveilError], object]


def open_source(config: Config, unreadable: Unreadable | None = None) -> ImageSource:
    """The images that the configuration names, as they are stored. unreadable: as in `open_images`."""
    data = config.data
    return open_images(
        data.path, dataset=data.dataset, axes=data.axes, value_range=data.value_range, unreadable=unreadable
    )


def open_measurements(
    config: Config, path: str | None = None, unreadable: Unreadable | None = None
) -> tuple[ImageSource, Problem | Several]:
    """The measurements that the configuration names, or those at `path`, and the problem that they are of.

    unreadable: as in `open_images`. Entries that are not measured are zero, whatever the files hold there. Raises UnveilError where `open_problem` does.
    """
    if path is not None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": path})})
    source = open_source(config, unreadable)
    problem = open_problem(config, source)
    return Measured(source, problem), problem


def split(
    source: ImageSource, config: Config, count: int | None = None, numbers: Sequence[int] | None = None
) -> tuple[ImageSource, ImageSource]:
    """(training images, held-out images). With fewer than two images, or a share of 0, both are all of them.

    count, numbers: where images are gone since the run began, how many there were, and the numbers of these among them:
    each stays on its side.
    """
    count, numbers = count or len(source), numbers or range(len(source))
    held_out = round(config.data.validation * count)
    if config.data.validation > 0:
        held_out = min(max(1, held_out), count - 1)
    if held_out == 0 or count < 2:
        return source, source
    order = torch.randperm(count, generator=make_generator("cpu", config.seed, 1)).tolist()
    out = set(order[:held_out])
    training = [i for i, number in enumerate(numbers) if number not in out]
    if not training:
        raise UnveilError(f"{config.data.path}: no image for training is left; put back those that are gone")
    rest = [i for i, number in enumerate(numbers) if number in out]
    return source.subset(training), source.subset(rest or training)


def indices(part: ImageSource) -> list[int]:
    """Which measurements of the whole data `split` put in `part`."""
    return part.indices if isinstance(part, Subset) else list(range(len(part)))
