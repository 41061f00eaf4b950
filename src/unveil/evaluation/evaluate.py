"""What a trained run does on measurements: error without a reference, against one if there is one, and calibration."""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from unveil.config import SamplingConfig
from unveil.data import ImageSource
from unveil.data.depth import groups, places
from unveil.dataset import Dataset
from unveil.diffusion import SCHEDULES, posterior_samples, samples_by_camera
from unveil.estimators import Tiled, knows_camera
from unveil.evaluation.calibration import posterior_variance, spread_over_error
from unveil.evaluation.distortion import mean_square_error, psnr, ssim
from unveil.evaluation.fields import FIGURES, Subject
from unveil.evaluation.flux import Blocks, block_sums
from unveil.evaluation.reference import check_reference
from unveil.evaluation.reference_free import estimate_hidden_error
from unveil.evaluation.rings import Rings, halves, ring_number
from unveil.evaluation.risk import Risk, estimate_risk
from unveil.evaluation.shown import Shown, shown_samples
from unveil.evaluation.turned import Turned, turned_power
from unveil.evaluation.views import Predicted, against_reference, predict_rest
from unveil.measurement import Estimator, Measurement
from unveil.precision import full_precision
from unveil.random import make_generator
from unveil.symmetry import Symmetry

__all__ = [
    "WITHOUT_REFERENCE",
    "Evaluation",
    "Metrics",
    "at_once",
    "counted",
    "draw_samples",
    "evaluate",
    "mean_metrics",
]

WITHOUT_REFERENCE = ("psnr_noise", "psnr_estimate", "psnr_hidden", "spread_over_error")
"""Figures that hold only where the noise model fits."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of one image; PSNR in dB for signals in [0, 1]. Those that need samples or a reference may be None.

    psnr_estimate: of the MMSE estimate, without the reference. spread_over_error: posterior variance over the
    estimate's squared error, itself estimated without the reference; `true_` ones use it. Of incomplete measurements
    both are those of A x on the measured entries, and psnr_hidden is that of entries hidden from f; psnr_noisy is A^+
    y's. psnr_noise: of the measured entries as they are, by their noise; None where a reference tells psnr_noisy.
    """

    name: str
    psnr_estimate: float
    spread_over_error: float | None = None
    psnr_noise: float | None = None
    psnr_hidden: float | None = None
    psnr_noisy: float | None = None
    psnr_mmse: float | None = None
    psnr_sample: float | None = None
    ssim_noisy: float | None = None
    ssim_mmse: float | None = None
    ssim_sample: float | None = None
    true_spread_over_error: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """One image: its figures and pictures.

    These are y (A^+ y, as an image), x_hat (C, H, W), samples (S, C, H, W) or None, reference or None. Of what there
    is, else None: risk: the error without a reference, of a batch of one. predicted, against: what samples predicted of
    the rest of the exposure, and of the reference. shown: samples beside the error, by entry. rings, blocks: of two
    halves of the exposure, and of intensities, where images are seen whole. turned: what samples of incomplete
    measurements tell as seen by a turned instrument. figures: what fields' own figures keep of it, by their names.
    group: what it is a slice or a frame of, with others; "": it is independent of them.
    """

    metrics: Metrics
    y: Tensor
    x_hat: Tensor
    samples: Tensor | None
    reference: Tensor | None
    risk: Risk | None = None
    predicted: Predicted | None = None
    against: Predicted | None = None
    shown: Shown | None = None
    rings: Rings | None = None
    blocks: Blocks | None = None
    turned: Turned | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""

    def _repr_html_(self) -> str:
        from unveil.report.notebook import evaluation_html  # which knows far more than this room

        return evaluation_html(self)


def draw_samples(
    f: Estimator,
    m: Measurement,
    config: SamplingConfig,
    generator: torch.Generator,
    progress: Callable[[int, int], object] | None = None,
) -> Tensor:
    """Draw posterior samples (S, B, C, H, W) of m, as `config` says.

    By going on with a camera where f knows one, else with A. An inflation that is still to be fitted counts as 0:
    `Run.inflation` is the fitted one.
    """
    how: dict[str, Any] = {
        "samples": config.samples, "steps": config.steps, "schedule": SCHEDULES[config.schedule],
        "lowest": config.lowest, "batch": at_once(m), "progress": progress,
    }  # fmt: skip
    if (network := knows_camera(f)) is not None:
        return samples_by_camera(f, m, network.std, generator, scale=float(network.scale), **how)
    inflation = 0.0 if isinstance(config.inflation, str) else config.inflation
    return posterior_samples(f, m, generator, inflation=inflation, **how)


_HIDDEN, _VIEW, _HALVES, _TURNS = 1021, 1022, 1023, 1024  # of draws that are those of nothing else
VIEWED = 128
"""Pixels, the side of the middle of an image of which a view is sampled, where it has such parts."""
PIXELS_AT_ONCE = 2**21
"""Entries denoised at once: the small UNet needs about 400 bytes for each, under 1 GiB in all."""


def at_once(m: Measurement) -> int:
    """Return how many such measurements go through a network together."""
    return max(1, PIXELS_AT_ONCE // math.prod(m.y.shape[1:]))


def evaluate(
    f: nn.Module,
    data: Dataset,
    sampling: SamplingConfig,
    *,
    reference: ImageSource | None = None,
    repeat: Dataset | None = None,
    sampled: int = 3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], object] | None = None,
    symmetry: Symmetry | None = None,
    mean: float = 0.0,
    blind: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Evaluation]:
    """Evaluate f on each measurement of `data`; posterior samples of the first `sampled` ones.

    reference: the clean images, in the same order and of the same shapes. repeat: second
    exposures of the same scenes, likewise. symmetry, mean: of the images, as in `turned_power`; where samples of
    incomplete measurements are to be judged by turned instruments. blind: images -> the part of them that no
    measurement sees (`unveil.identifiability.Blind`), where there is such. progress: (images done, all). Raises
    UnveilError when the reference or the repeat does not match.
    """
    if reference is not None:
        check_reference(data.source, reference, data.operator.image_shape)
        reference = reference.whole()
    if repeat is not None:
        check_reference(data.source, repeat.source, what="repeat")
    full_precision()  # the error without a reference is made of small differences
    f, rings, place = Tiled(f.to(device).eval()), ring_number(data.source.smallest()[0]), places(data.source)
    together = groups(data.source, place)
    for i in range(len(data)):
        generator = make_generator(device, seed, i)
        m = data[i].to(device)
        x = None if reference is None else reference.read(i)[None].to(device)
        again = None if repeat is None else repeat[i].to(device)
        with torch.no_grad():
            x_hat = f(m)
        risk = estimate_risk(f, m, generator, x_hat=x_hat)
        samples = draw_samples(f, m, sampling, generator) if i < sampled else None
        raw = m.operator.A_dagger(m.y)
        if m.operator.measured is not None and not m.operator.unseen:  # what faulty pixels would show is not known
            raw = raw + x_hat - m.operator.A_dagger(m.predict(x_hat))
        metrics = _metrics(data.source.name(i), raw, x_hat, risk.error, samples, x, m)
        if m.operator.unseen:
            metrics = replace(
                metrics, psnr_hidden=psnr(float(estimate_hidden_error(f, m, make_generator(device, seed, i, _HIDDEN))))
            )
        yield Evaluation(
            metrics,
            raw[0].cpu(),
            x_hat[0].cpu(),
            None if samples is None else samples[:, 0].cpu(),
            None if x is None else x[0].cpu(),
            risk,
            *_predicted(f, m, sampling, samples, x, seed, i),
            None if samples is None or len(samples) < 2 else shown_samples(m, x_hat, samples, risk),
            *_seen_whole(f, m, x_hat, x, risk, rings, make_generator(device, seed, i, _HALVES)),
            None
            if samples is None or symmetry is None or not m.operator.unseen
            else turned_power(m, x_hat, samples, symmetry, make_generator(device, seed, i, _TURNS), mean=mean),
            _figures(Subject(f, m, x_hat, risk, generator, again, place.get(i), samples, blind), seed, i),
            together[i],
        )
        if progress is not None:
            progress(i + 1, len(data))


def _predicted(
    f: nn.Module,
    m: Measurement,
    sampling: SamplingConfig,
    samples: Tensor | None,
    x: Tensor | None,
    seed: int,
    i: int,
) -> tuple[Predicted | None, Predicted | None]:
    """Return what samples predict of the rest of the exposure, and of the reference; None where there are not two."""
    if samples is None or len(samples) < 2:
        return None, None
    generator = make_generator(m.y.device, seed, i, _VIEW)
    height, width = m.y.shape[-2:]
    h, w = min(height, VIEWED), min(width, VIEWED)
    part = m.window(((height - h) // 2, (width - w) // 2, h, w)) or m
    predicted = predict_rest(lambda view: draw_samples(f, view, sampling, generator), part, generator)
    return predicted, None if x is None else against_reference(samples[:, 0], x[0], generator)


def _figures(subject: Subject, seed: int, i: int) -> dict[str, Any]:
    """Return what each field's figure keeps of a measurement, by its name; those that have a meaning for it."""
    found = {}
    for figure in FIGURES:
        generator = make_generator(subject.m.y.device, seed, i, zlib.crc32(figure.name.encode()))
        with torch.no_grad():
            found[figure.name] = figure.look(replace(subject, generator=generator))
    return {name: kept for name, kept in found.items() if kept is not None}


def _seen_whole(
    f: nn.Module,
    m: Measurement,
    x_hat: Tensor,
    x: Tensor | None,
    risk: Risk,
    rings: int,
    generator: torch.Generator,
) -> tuple[Rings | None, Blocks | None]:
    """Return what halves of the exposure and blocks tell of an image; None of measurements that are no whole images."""
    if m.operator.unseen or m.operator.measured is not None or m.operator.image_shape is not None or m.y.ndim != 4:
        return None, None
    return halves(f, m, generator, rings, x_hat, x) if rings else None, block_sums(m, x_hat, risk)


def _metrics(
    name: str,
    y: Tensor,
    x_hat: Tensor,
    estimated: Tensor,
    samples: Tensor | None,
    x: Tensor | None,
    m: Measurement,
) -> Metrics:
    metrics: dict[str, float] = {"psnr_estimate": psnr(float(estimated))}
    if samples is not None and len(samples) > 1:
        metrics["spread_over_error"] = measured_spread(samples, m) / positive(float(estimated.mean()))
    if x is None:
        metrics["psnr_noise"] = psnr(float(m.operator.mean(m.noise.estimated_variance(m.y).expand_as(m.y)).mean()))
    else:
        error = mean_square_error(x_hat, x)
        metrics |= {
            "psnr_noisy": psnr(float(mean_square_error(y, x))),
            "psnr_mmse": psnr(float(error)),
            "ssim_noisy": ssim(y[0], x[0]),
            "ssim_mmse": ssim(x_hat[0], x[0]),
        }
        if samples is not None:
            metrics["psnr_sample"] = psnr(float(mean_square_error(samples[:, 0], x).mean()))
            metrics["ssim_sample"] = ssim(samples[0, 0], x[0])
            if len(samples) > 1:
                metrics["true_spread_over_error"] = spread_over_error(samples, error)
    return Metrics(name, **metrics)


def measured_spread(samples: Tensor, m: Measurement) -> float:
    """Return the mean variance over the samples (S, B, *image) of A x on the measured entries."""
    u = torch.stack([m.predict(x) for x in samples])
    return float(m.operator.mean(posterior_variance(u)).mean())


def positive(error: float) -> float:
    """Return an error to divide by; nan where noise made its estimate negative."""
    return error if error > 0 else math.nan


def mean_metrics(metrics: list[Metrics]) -> dict[str, float]:
    """Return the mean of each figure over the images that have it, where it is known of all of these.

    Of an image whose figure is not a finite number nothing is known: a mean over the others would be of other images.
    """
    means = {}
    for key, values in _by_metric(metrics).items():
        if all(math.isfinite(v) for v in values):
            means[key] = sum(values) / len(values)
    return means


def counted(metrics: list[Metrics]) -> dict[str, int]:
    """Count the images that have each figure, known or not: those that were sampled, or have a reference."""
    return {key: len(values) for key, values in _by_metric(metrics).items()}


def _by_metric(metrics: list[Metrics]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for row in metrics:
        for key, value in asdict(row).items():
            if isinstance(value, float):
                columns.setdefault(key, []).append(value)
    return columns
