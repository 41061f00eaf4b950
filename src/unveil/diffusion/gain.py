"""The gain of `DPM2M` that makes a trained network's samples spread as widely as its estimate errs.

For exact posterior samples E var(x_k) = E |f(y) - x|^2 / m. The left side is the samples' variance; the right side is
Stein's estimate (`unveil.risks.SURE`) on the same measurements: the fit sees no reference. The same draws serve every
gain tried, so that the spread is a smooth, growing function of it. Of incomplete measurements both are taken in measurement
space, over the entries that are measured: no estimate without a reference tells of the others.
"""

import math
from functools import partial

import torch
from torch import Tensor

from unveil.diffusion.dpm import DPM2M
from unveil.diffusion.measurement import reconstruction_samples
from unveil.diffusion.sample import posterior_samples
from unveil.diffusion.schedule import Schedule, geometric
from unveil.diffusion.solver import Denoise
from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator
from unveil.risks import SURE, told
from unveil.shapes import per_sample

__all__ = ["fit_gain"]

FIRST_GAIN = 0.1
LARGEST_GAIN = 0.8
TRIALS = 5
TOLERANCE = 0.02


@torch.no_grad()
def fit_gain(
    denoise: Denoise,
    y: Tensor,
    sigma_n: float | Tensor,
    *,
    seed: int = 0,
    steps: int = 25,
    schedule: Schedule = geometric,
    sigma_min: float | Tensor | None = None,
    samples: int = 2,
    probes: int = 8,
    batch: int = 64,
    problem: Problem | Several = DENOISING,
) -> float:
    """c in [0, 0.8] at which the mean variance of posterior samples of y equals the estimated error of f(y).

    denoise: f(y, s), and f(y, s, problem) where the problem has operators.
    y: held-out measurements (B, *measurement) by `problem`, in its order, at level sigma_n, a number or (B,). Some 10^5 pixels or more: the error's
        estimate deviates by about sigma_n^2 sqrt(2 / pixels).
    steps, schedule, sigma_min, batch: those of the sampler that will use c; sigma_min as in `posterior_samples`.
    samples, probes: draws for the variance, and probes of the divergence.
    Returns 0 when the exact solver already spreads widely enough, or has fewer than three steps, in which the gain plays no
    part; 0.8 when even that is too little. Raises UnveilError when the error's estimate is not
    positive, so that there is nothing to fit to.
    """
    if steps < 3:
        return 0.0
    level = per_sample(sigma_n, y, "sigma_n")
    probe = make_generator(y.device, seed, 0)
    part = problem.at(torch.arange(len(y), device=y.device))
    f = told(denoise, part)  # type: ignore[arg-type]
    error = float(torch.stack([SURE(problem=part)(f, y, level, probe) for _ in range(probes)]).mean())
    if not error > 0:
        raise UnveilError(
            f"the estimated error of f on {len(y)} measurements is {error:.2g}, not > 0: "
            "give more or larger measurements, or state the gain"
        )

    def excess(gain: float) -> float:
        """ln (spread / error)."""
        g = denoise if isinstance(problem, Several) else f
        draw = partial(posterior_samples, f) if part.operator is None else partial(reconstruction_samples, g, problem)
        x = draw(
            y, level, samples=samples, steps=steps, solver=DPM2M(gain), schedule=schedule, sigma_min=sigma_min, batch=batch,
            generator=make_generator(y.device, seed, 1),
        )  # fmt: skip
        drawn = torch.stack([part.predict(sample) for sample in x])
        return math.log(float(part.inner(drawn.var(0), torch.ones_like(y)).mean()) / error)

    low, at_low = 0.0, excess(0.0)
    if at_low >= 0:
        return 0.0
    high = FIRST_GAIN
    while (at_high := excess(high)) < 0 and high < LARGEST_GAIN:
        low, at_low, high = high, at_high, 2 * high
    if at_high < TOLERANCE:
        return high
    gain = high
    for _ in range(TRIALS):  # false position, Illinois form: the end that stays counts half, so both ends move
        gain = low + (high - low) * at_low / (at_low - at_high)
        at = excess(gain)
        if abs(at) < TOLERANCE:
            break
        if at < 0:
            low, at_low, at_high = gain, at, at_high / 2
        else:
            high, at_high, at_low = gain, at, at_low / 2
    return gain
