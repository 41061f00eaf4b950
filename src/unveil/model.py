"""The front door: measurements in, a model out. No folder and no YAML.

y = torch.rand(30, 1, 128, 128)
model = unveil.learn(y)
x_hat, samples = model(y[:1]), model.sample(y[:1], 8)
model.save("runs/mine")
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from unveil.checks import Seen, look, out_of_range, see
from unveil.checks.fit import Fit
from unveil.checks.measurements import image_lines
from unveil.checks.own_scale import own_scale
from unveil.config import Config
from unveil.data import ImageSource, MemorySource
from unveil.data.corrected import Corrected
from unveil.dataset import Dataset
from unveil.errors import UnveilError, warn
from unveil.estimators import Tiled, knows_camera
from unveil.evaluation import Evaluation, at_once, draw_samples, evaluate, model_fit
from unveil.evaluation.turned import energy_kept
from unveil.evaluation.validation import make_validation
from unveil.given import FILES, Measurements, configuration_of, is_one, noise_given, operator_of, source_of, tensor_of
from unveil.measurement import Measurement
from unveil.noise import Noise, OwnNoise
from unveil.operators.base import Operator
from unveil.precision import full_precision
from unveil.random import make_generator
from unveil.runs.create import save_run
from unveil.runs.learned import check_learnable, choose_told, told
from unveil.runs.noise import find_noise, found_in, noise_of
from unveil.runs.run import open_run as open_folder
from unveil.runs.signal import with_signal_law
from unveil.runs.taught import blind_to, warn_of_never_seen
from unveil.training import build_estimator
from unveil.training import learn as train
from unveil.training.inflation import fit_to_images
from unveil.training.learn import recipe_loss
from unveil.training.recipes import RECIPES
from unveil.training.setup import data_at, indices, possible_scales, signal_mean, split, with_gaps

__all__ = ["Measurements", "Model", "learn", "open_run"]


class Model:
    """A trained estimator of images, and the sampler of what the measurements leave open.

    f: f(m) -> x_hat. operator, noise: of the measurements that it was trained on; where each of them has parameters of
    its own, what is common to all, and they are found in whatever it is given. A detector's pattern, of which the noise
    has maps, is taken off whatever it is given. config: how. inflation: of its sampler. never_seen: what of the images
    no measurement sees, in words; None: nothing. seen, channels: the range of those it was trained on, and C;
    None: not known.
    Single precision is full precision in a process that has a model (`unveil.precision`).
    """

    def __init__(
        self,
        f: nn.Module,
        operator: Operator,
        noise: Noise | OwnNoise,
        config: Config,
        inflation: float = 0.0,
        never_seen: str | None = None,
        seen: Seen | None = None,
        channels: int | None = None,
    ) -> None:
        full_precision()
        self.f = f.eval()
        self.operator = operator
        self.noise = noise
        self.config = config
        self.inflation = inflation
        self.never_seen = never_seen
        self.seen = seen
        self.channels = channels

    def __repr__(self) -> str:
        kind = type(self.operator).__name__.lower()
        parameters = sum(p.numel() for p in self.f.parameters())
        family = self.noise.family.__name__.lower()
        return f"Model({kind}, {family} noise, {self.noise}; {parameters:,} parameters)"

    def _repr_html_(self) -> str:
        from unveil.report.notebook import named, words_html

        config, parameters = self.config, sum(p.numel() for p in self.f.parameters())
        words = {
            "operator": type(self.operator).__name__,
            "noise": f"{named(self.noise)} (on the scale of y)",
            "network": f"{config.estimator.form}, {parameters:,} parameters",
            "learned by": f"recipe {config.loss.recipe}, {config.training.steps} steps, seed {config.seed}",
            "use": "model(y) is E[x | y]; model.sample(y, 8) draws posterior samples; model.evaluate(y) says how good",
        }
        return words_html("Model", words)

    @torch.no_grad()
    def __call__(self, y: Tensor | np.ndarray | Measurement, noise: Noise | None = None) -> Tensor:
        """Return E[x | y] (B, *image) of measurements y (B, *measurement), on the device of the model.

        noise: of these measurements; None: that of the training, or, where each image has parameters of its own, found
            in each.

        As many measurements at once as `evaluate` takes, and large images in tiles: a stack of gigabytes needs no more
        memory beside it and its estimate than one image.
        """
        m, f = self.measurement(y, noise), Tiled(self.f)
        n = at_once(m)
        return torch.cat([f(m[first : first + n]) for first in range(0, max(1, len(m)), n)])

    def sample(
        self,
        y: Tensor | np.ndarray | Measurement,
        n: int = 8,
        *,
        steps: int = 25,
        seed: int = 0,
        noise: Noise | None = None,
    ) -> Tensor:
        """Draw n posterior samples (n, B, *image) of each measurement y (B, *measurement).

        steps: evaluations of f for each.
        """
        m = self.measurement(y, noise)
        sampling = self.config.sampling.model_copy(update={"samples": n, "steps": steps, "inflation": self.inflation})
        return draw_samples(Tiled(self.f), m, sampling, make_generator(m.y.device, seed))

    def evaluate(
        self,
        y: Measurements,
        reference: Measurements | None = None,
        *,
        repeat: Measurements | None = None,
        sampled: int = 3,
        seed: int = 0,
    ) -> list[Evaluation]:
        """Return the error without a reference, against one, and the calibration of samples, of each measurement.

        Against a reference where there is one.

        reference: clean images (N, *image), in the order of y. repeat: second exposures like y, in its order: their
        error is in `figures["repeat"]` of each result. sampled: how many are sampled.
        """
        data = self._dataset(y)
        clean = None if reference is None else self._source(reference, named=False)
        again = None if repeat is None else self._dataset(repeat)
        sampling = self.config.sampling.model_copy(update={"inflation": self.inflation})
        device = next(self.f.parameters()).device
        symmetry, mean = energy_kept(self.config.loss.symmetry), signal_mean(self.config)
        results = evaluate(
            self.f, data, sampling, reference=clean, repeat=again, sampled=sampled, seed=seed, device=device,
            symmetry=symmetry, mean=mean, blind=blind_to(self.never_seen, data, self.config, device),
        )  # fmt: skip
        return [*results]

    def noise_fits(self, y: Measurements, *, seed: int = 0) -> Fit:
        """Return whether the noise that the model supposes fits y: a verdict, with its reason in one line.

        y: a few images or more (N, *measurement), better those that training never saw. Where it "does not fit", no
        figure without a reference holds.
        """
        return model_fit(Tiled(self.f), self._dataset(y), seed=seed, device=next(self.f.parameters()).device)

    def measurement(self, y: Tensor | np.ndarray | Measurement, noise: Noise | None = None) -> Measurement:
        """Return y (B, *measurement) as a measurement by the model's operator.

        Warns of values that are not where those of the training were. Raises UnveilError for other channels, and for
        NaN or infinite values.
        """
        device = next(self.f.parameters()).device
        if isinstance(y, Measurement):
            return y.to(device)
        values = tensor_of(y)
        self._check(values)
        own = noise or self.noise
        if isinstance(own, Noise) and own.pattern is not None:
            values = own.pattern.off(values)
        return Measurement(values, self.operator, own.of(values)).to(device)

    def _check(self, values: Tensor) -> None:
        """Warn of, or refuse, measurements (B, C, H, W) of which the network would make nonsense."""
        if self.channels not in (None, values.shape[1]):
            raise UnveilError(
                f"y has shape {tuple(values.shape)}, and the model was trained on (N, {self.channels}, H, W)"
            )
        if not bool(values.isfinite().all()):
            raise UnveilError("y contains NaN or infinite values; mask or replace them")
        if self.seen is not None and len(values):
            here = MemorySource({str(i): image for i, image in enumerate(values)})
            if (line := out_of_range(self.seen, see(here, look(here)))) is not None:
                warn(line)

    def _dataset(self, y: Measurements) -> Dataset:
        source = _without_pattern(self._source(y), self.noise)
        return Dataset(with_gaps(self.config, source), self.operator, noise_of(self.noise, source))

    def _source(self, y: Measurements, named: bool = True) -> ImageSource:
        """Return y, or the images at the path y, read as those of the training were.

        named: from the dataset of the same name.
        """
        how = dict(data_at(y, self.config)) if isinstance(y, str | os.PathLike) else {}
        return source_of(y, how if named else how | {"dataset": None})

    def to(self, device: torch.device | str) -> Self:
        """Move the network to `device`, and return the model."""
        self.f.to(device)
        return self

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write a run folder, which `open_run` opens, and, where A is the identity, every command.

        Raises UnveilError if it exists, and for noise that was given for each image.
        """
        if isinstance(self.noise, Noise) and not is_one(self.noise):
            raise UnveilError(
                f"{folder}: the noise was given for each image of the training, and a run folder holds one for "
                "all: keep the model in memory, or learn with noise='estimate'"
            )
        return save_run(
            Path(folder), self.f, self.config, self.operator, self.noise, self.inflation, self.never_seen, self.seen
        )


def learn(
    y: Measurements,
    *,
    operator: Operator | Any = None,
    noise: Noise | Literal["estimate"] = "estimate",
    steps: int = 2000,
    backbone: nn.Module | None = None,
    image_shape: tuple[int, ...] | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Model:
    """Learn to image from the measurements y alone.

    y: at least some, of one instrument. operator: A; None: y are images with noise. A deepinv `LinearPhysics` will do,
    with `image_shape` (C, H, W). noise: its family and parameters (`unveil.noise`), or estimate: both are found in y
    where A is the identity, else the level.
    steps: of the training. backbone: a network of your own in place of the UNet, g(u, c) -> (B, C, H, W) from u
    (B, k C, H, W) and c (B,), the log noise-to-signal ratio, or c (B, 2) with loss.camera; k is
    `unveil.estimators.inputs`. settings: of a configuration, by section, e.g. {"training": {"batch": 16}, "loss":
    {"symmetry": ["rotate"]}}; others are what `unveil init` writes for the instrument that A is of (`Operator.kind`).
    Of data.* where y is a path: dataset, axes and value_range, as `open_images` takes them.
    out: keeps checkpoints and metrics: the same call goes on where it stopped; None: nothing is kept.
    progress: shown in a terminal, a notebook or a log.
    Warns where the measurements contradict what is said of them. Raises UnveilError when they cannot be learned from.
    """
    how = dict((settings or {}).get("data", {}))
    if not isinstance(y, str | os.PathLike) and (idle := sorted(set(FILES) & how.keys())):
        raise UnveilError(f"settings: data.{idle[0]} says how files are read, and y is none: it is taken as it is")
    noise = noise_given(noise)
    source = source_of(y, how)
    operator = operator_of(operator, image_shape)
    config = configuration_of(source, operator, settings, noise, steps, seed)
    known = find_noise(config, source, operator) if isinstance(noise, str) else noise
    check_learnable(config, known)
    found = found_in(config, known) if isinstance(noise, str) and not operator.unseen else None
    source = _without_pattern(source, known)
    noise = noise_of(known, source)
    config = with_signal_law(config, (settings or {}).get("estimator", {}), source, noise, operator)
    if not operator.unseen:
        for line in image_lines(with_gaps(config, source), noise):
            warn(line)
    never_seen = warn_of_never_seen(config, operator, operator.image_shape or source.shape(0))
    crop = config.training.crop
    scales = possible_scales(config, source, operator) if RECIPES[config.loss.recipe].scales else (1,)
    stated = "scales" in (settings or {}).get("loss", {})
    if not (operator.unseen or stated) and (why := own_scale(source, noise, scales, crop)) is not None:
        warn(f'{why}: they are learned from at one scale; settings={{"loss": {{"scales": [1, 2, 4]}}}} overrides')
        scales = (1,)
    seen = see(source, look(source))
    f = build_estimator(config, source.channels, operator, noise.uneven, backbone)
    data = Dataset(with_gaps(config, source), operator, noise)
    training, held_out = (data.subset(part) for part in _split(source, config))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()) if out is None else out)
        stages = None
        if progress:
            from unveil.progress import say, stage_bars  # rich loads late

            stages = stack.enter_context(stage_bars())
        loss = recipe_loss(config, training)
        f = train(
            f, training, held_out, config, folder, loss=loss, scales=scales, device=device, stages=stages,
            validation=make_validation(held_out, config.seed, training, found),
        )  # fmt: skip
        if isinstance(known, Noise) and (learned := choose_told(f, held_out, loss, seed=seed)) is not None:
            known, held_out = learned.of(known), told(held_out, learned)
            if progress:
                say(learned.why)
        inflation = 0.0
        if config.sampling.inflation == "fit" and knows_camera(f) is None:
            inflation = fit_to_images(
                f, held_out, config.sampling.steps, seed, "cpu", record=folder, schedule=config.sampling.schedule,
                lowest=config.sampling.lowest,
            )  # fmt: skip
    return Model(f, operator, known, config, inflation, never_seen, seen, source.channels)


def open_run(folder: str | os.PathLike[str], operator: Operator | None = None) -> Model:
    """Open the model in a run folder that `unveil train` or `Model.save` wrote.

    operator: of the measurements it will be given; None: as the run's configuration describes it.
    """
    run = open_folder(folder, given=operator is not None)
    operator = operator or run.operator()
    return Model(
        run.estimator(operator), operator, run.noise, run.config, run.inflation, run.never_seen, run.seen, run.channels
    )


def _without_pattern(source: ImageSource, noise: Noise | OwnNoise) -> ImageSource:
    pattern = noise.pattern if isinstance(noise, Noise) else None
    return source if pattern is None else Corrected(source, pattern.factor[0], pattern.shift[0])


def _split(source: ImageSource, config: Config) -> tuple[list[int], list[int]]:
    training, held_out = split(source, config)
    return indices(training), indices(held_out)
