"""The inflation of the sampler that makes a trained network's samples spread as widely as its estimate errs.

For exact posterior samples E var(x_k) = E |f(y) - x|^2 / m. The left side is the samples' variance; the right side is
Stein's estimate (`unveil.losses.Stein`) on the same measurements: the fit sees no reference. The same draws serve every
inflation tried, so that the spread is a smooth, growing function of it. Both are taken in measurement space, over the
entries that are measured: no estimate without a reference tells of the others.
"""

import math
import sys

import torch

from unveil.diffusion.sample import posterior_samples
from unveil.diffusion.schedule import Schedule, karras
from unveil.errors import UnveilError
from unveil.losses import Stein
from unveil.measurement import Estimator, Measurement
from unveil.random import make_generator

__all__ = ["fit_inflation"]

FIRST = 0.1
LARGEST = 0.8
TRIALS = 5
TOLERANCE = 0.02


@torch.no_grad()
def fit_inflation(
    f: Estimator,
    m: Measurement,
    *,
    seed: int = 0,
    steps: int = 25,
    schedule: Schedule = karras,
    lowest: float = 0.05,
    samples: int = 2,
    probes: int = 8,
    batch: int = 64,
) -> float:
    """Return c in [0, 0.8] at which the mean variance of posterior samples of A x equals the estimated error of A f(y).

    m: held-out measurements, some 10^5 entries or more: the error's estimate deviates by about
       sigma^2 sqrt(2 / entries).
    steps, schedule, lowest, batch: those of the sampler that will use c.
    samples, probes: draws for the variance, and probes of the divergence.
    Returns 0 when the exact sampler already spreads widely enough, or has fewer than three steps, in which c plays no
    part; 0.8 when even that is too little. Raises UnveilError when the error's estimate is not positive, so that there
    is nothing to fit to.
    """
    if steps < 3:
        return 0.0
    probe = make_generator(m.y.device, seed, 0)
    error = float(torch.stack([Stein()(f, m, probe) for _ in range(probes)]).mean())
    if not error > 0:
        raise UnveilError(
            f"the estimated error of f on {len(m)} measurements is {error:.2g}, not > 0: "
            "give more or larger measurements, or state the inflation"
        )

    def excess(inflation: float) -> float:
        """Return ln (spread / error)."""
        x = posterior_samples(
            f, m, make_generator(m.y.device, seed, 1), samples=samples, steps=steps, schedule=schedule, lowest=lowest,
            inflation=inflation, batch=batch,
        )  # fmt: skip
        drawn = torch.stack([m.predict(sample) for sample in x])
        spread = float(m.operator.mean(drawn.var(0)).mean())
        return math.log(max(spread / error, sys.float_info.min))

    low, at_low = 0.0, excess(0.0)
    if at_low >= 0:
        return 0.0
    high = FIRST
    while (at_high := excess(high)) < 0 and high < LARGEST:
        low, at_low, high = high, at_high, 2 * high
    if at_high < TOLERANCE:
        return high
    found = high
    for _ in range(TRIALS):  # false position, Illinois form: the end that stays counts half, so both ends move
        found = low + (high - low) * at_low / (at_low - at_high)
        at = excess(found)
        if abs(at) < TOLERANCE:
            break
        if at < 0:
            low, at_low, at_high = found, at, at_high / 2
        else:
            high, at_high, at_low = found, at, at_low / 2
    return found
