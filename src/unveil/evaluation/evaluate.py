"""What a trained run does on measurements: error without a reference, against one if there is one, and calibration."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from unveil.config import SamplingConfig
from unveil.data import ImageSource
from unveil.diffusion import (
    DPM2M,
    SCHEDULES,
    SOLVERS,
    Solver,
    posterior_samples,
    reconstruction_samples,
    samples_under_prior,
)
from unveil.estimators import PreconditionedDenoiser, Tiled
from unveil.evaluation.calibration import posterior_variance, spread_over_error
from unveil.evaluation.distortion import mean_square_error, psnr, ssim
from unveil.evaluation.reference import check_reference
from unveil.evaluation.reference_free import estimate_error, estimate_hidden_error
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator
from unveil.risks import told
from unveil.training.imaging import HIGHEST

__all__ = ["Evaluation", "Figures", "counted", "draw_samples", "evaluate", "mean_figures"]


@dataclass(frozen=True)
class Figures:
    """Figures of one image; PSNR in dB for signals in [0, 1]. Those that need samples or a reference may be None.

    psnr_estimate: of the MMSE estimate, without the reference. spread_over_error: posterior variance over the
    estimate's squared error, itself estimated without the reference; `true_` ones use it. Of incomplete measurements both are
    those of A x on the measured entries, and psnr_hidden is that of entries hidden from f; psnr_noisy is A^+ y's.
    """

    name: str
    psnr_estimate: float
    spread_over_error: float | None = None
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
    """One image: its figures, and y (A^+ y, as an image), x_hat (C, H, W), samples (S, C, H, W) or None, reference or None."""

    figures: Figures
    y: Tensor
    x_hat: Tensor
    samples: Tensor | None
    reference: Tensor | None


def draw_samples(
    f: nn.Module,
    y: Tensor,
    sigma_n: float,
    config: SamplingConfig,
    generator: torch.Generator,
    progress: Callable[[int, int], object] | None = None,
    problem: Problem = DENOISING,
    prior: PreconditionedDenoiser | None = None,
) -> Tensor:
    """Posterior samples (S, B, C, H, W) of measurements y (B, *measurement) at level sigma_n, as `config` says.

    A gain that is still to be fitted counts as 0: `Run.gain` is the fitted one. prior: of the images, learned in rounds; x is then
    drawn under it, and else by f in measurement space.
    """
    solver, schedule, sigma_min = make_solver(config), SCHEDULES[config.schedule], config.lowest * sigma_n
    if prior is not None:
        start = told(f, problem)(y, torch.full((len(y),), sigma_n, device=y.device)).detach()
        return samples_under_prior(
            prior, problem, y, sigma_n, start, HIGHEST * prior.deviation, samples=config.samples, steps=config.steps,
            solver=solver, schedule=schedule, sigma_min=sigma_min, generator=generator, progress=progress,
        )  # fmt: skip
    batch = max(1, PIXELS_AT_ONCE // y[0].numel())
    whole = problem.operator is None
    draw = partial(posterior_samples, f) if whole else partial(reconstruction_samples, told(f, problem), problem)
    return draw(
        y,
        sigma_n,
        samples=config.samples,
        steps=config.steps,
        solver=solver,
        schedule=schedule,
        sigma_min=sigma_min,
        batch=batch,
        generator=generator,
        progress=progress,
    )


def make_solver(config: SamplingConfig) -> Solver:
    if config.solver == "dpm2m":
        return DPM2M(0.0 if isinstance(config.gain, str) else config.gain)
    return SOLVERS[config.solver]()


PIXELS_AT_ONCE = 2**21
"""Entries denoised at once: the small UNet needs about 400 bytes for each, under 1 GiB in all."""


def evaluate(
    f: nn.Module,
    source: ImageSource,
    sigma_n: float,
    sampling: SamplingConfig,
    *,
    reference: ImageSource | None = None,
    sampled: int = 3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], object] | None = None,
    problem: Problem | Several = DENOISING,
    prior: PreconditionedDenoiser | None = None,
) -> Iterator[Evaluation]:
    """Evaluate f on each measurement of `source`; posterior samples of the first `sampled` ones.

    problem: of the measurements, in their order; with an operator f is f(y, sigma, problem). prior: as in `draw_samples`.
    reference: the clean images, in the same order and of the same shapes. progress: (images done, all).
    Raises UnveilError when the reference does not match.
    """
    if reference is not None:
        check_reference(source, reference, problem.image_shape)
    f = f.to(device).eval()
    if problem is DENOISING:
        f = Tiled(f)
    for i in range(len(source)):
        generator = make_generator(device, seed, i)
        y = source.read(i)[None].to(device)
        x = None if reference is None else reference.read(i)[None].to(device)
        part = problem.at(torch.tensor([i], device=device))
        with torch.no_grad():
            x_hat = told(f, part)(y, torch.full((1,), sigma_n, device=y.device))
        estimated = estimate_error(f, y, sigma_n, generator, problem=part)
        samples = draw_samples(f, y, sigma_n, sampling, generator, problem=part, prior=prior) if i < sampled else None
        raw = part.pseudo_inverse(y)
        figures = _figures(source.name(i), raw, x_hat, estimated, samples, x, part)
        if part.operator is not None:
            hidden = psnr(float(estimate_hidden_error(f, y, sigma_n, part, generator)))
            figures = replace(figures, psnr_hidden=hidden)
        yield Evaluation(
            figures,
            raw[0].cpu(),
            x_hat[0].cpu(),
            None if samples is None else samples[:, 0].cpu(),
            None if x is None else x[0].cpu(),
        )
        if progress is not None:
            progress(i + 1, len(source))


def _figures(
    name: str,
    y: Tensor,
    x_hat: Tensor,
    estimated: Tensor,
    samples: Tensor | None,
    x: Tensor | None,
    problem: Problem,
) -> Figures:
    figures: dict[str, float] = {"psnr_estimate": psnr(float(estimated))}
    if samples is not None and len(samples) > 1:
        figures["spread_over_error"] = measured_spread(samples, problem) / positive(float(estimated.mean()))
    if x is not None:
        error = mean_square_error(x_hat, x)
        figures |= {
            "psnr_noisy": psnr(float(mean_square_error(y, x))),
            "psnr_mmse": psnr(float(error)),
            "ssim_noisy": ssim(y[0], x[0]),
            "ssim_mmse": ssim(x_hat[0], x[0]),
        }
        if samples is not None:
            figures["psnr_sample"] = psnr(float(mean_square_error(samples[:, 0], x).mean()))
            figures["ssim_sample"] = ssim(samples[0, 0], x[0])
            if len(samples) > 1:
                figures["true_spread_over_error"] = spread_over_error(samples, error)
    return Figures(name, **figures)


def measured_spread(samples: Tensor, problem: Problem) -> float:
    """The mean variance over the samples (S, B, *image) of A x on the measured entries."""
    u = torch.stack([problem.predict(x) for x in samples])
    variance = posterior_variance(u)
    return float(problem.inner(variance, torch.ones_like(variance)).mean())


def positive(error: float) -> float:
    """An error to divide by; nan where noise made its estimate negative."""
    return error if error > 0 else math.nan


def mean_figures(figures: list[Figures]) -> dict[str, float]:
    """The mean of each figure over the images that have it, where it is known of all of these.

    Of an image whose figure is not a finite number nothing is known: a mean over the others would be of other images.
    """
    means = {}
    for key, values in _by_figure(figures).items():
        if all(math.isfinite(v) for v in values):
            means[key] = sum(values) / len(values)
    return means


def counted(figures: list[Figures]) -> dict[str, int]:
    """How many images have each figure, known or not: those that were sampled, or have a reference."""
    return {key: len(values) for key, values in _by_figure(figures).items()}


def _by_figure(figures: list[Figures]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for row in figures:
        for key, value in asdict(row).items():
            if isinstance(value, float):
                columns.setdefault(key, []).append(value)
    return columns
