"""Self-calibration: an image and the stations' gains, each found from the other.

    x = f(V / (g_i g_j*)),      g = argmin |V - g_i g_j* A x|^2     (Readhead and Wilkinson 1978; Cornwell and Wilkinson
                                                                   1981, https://doi.org/10.1093/mnras/196.4.1067)

It begins with the one of many simulated sources whose closure quantities are nearest to those observed: nothing else is
known of an image while every phase is a station's. The round whose image fits the closure quantities best is kept. The
flux, which no closure quantity tells, is what makes the median of |g_i g_j| one: that of the calibration before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unveil.instruments.interferometry.closures import Closures, closures
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.gains import fit_gains
from unveil.instruments.interferometry.simulated import Observation, model_visibilities

__all__ = ["Calibrated", "Fit", "self_calibrate"]

ROUNDS = 12
Fit = tuple[float, float]
"""Reduced chi^2 of closure phases, and of log closure amplitudes."""


@dataclass(frozen=True)
class Calibrated:
    """What self-calibration found.

    coverage, visibilities: those observed, divided by gains: the points, and each sigma by |g_i g_j|.
    gains: g_i g_j* (M,).  x: the image (1, 1, H, W).  fits: of the start, and of each round. best: the round kept, from
    1.
    """

    coverage: Coverage
    visibilities: Tensor
    gains: Tensor
    x: Tensor
    fits: tuple[Fit, ...]
    best: int


def self_calibrate(
    seen: Observation, image: Callable[[Coverage, Tensor], Tensor], candidates: Tensor, brightness: float
) -> Calibrated:
    """Return the observation calibrated, and its image.

    image: f, (coverage, visibilities (M,)) -> x (1, 1, H, W).  candidates: images (K, 1, H, W) to begin with one of.
    brightness: jansky per pixel of the value 1.
    Raises UnveilError where the observation has no times or no stations.
    """
    closed = closures(seen.coverage, seen.visibilities)

    def model(x: Tensor) -> Tensor:
        return model_visibilities(seen.coverage, x, seen.field_of_view, brightness)

    x = candidates[total(closed, *closed.chi2(model(candidates))).argmin()][None]
    fits, best, found = [fit_of(closed, model(x))], float("inf"), None
    for number in range(1, ROUNDS + 1):
        gains = fit_gains(seen.coverage, seen.visibilities, model(x)[0])
        gains = gains / gains.abs().median()
        coverage = replace(seen.coverage, sigma=seen.coverage.sigma / gains.abs())
        x = image(coverage, seen.visibilities / gains)
        fits.append(fit_of(closed, model(x)))
        value = float(total(closed, *(torch.tensor(t) for t in fits[-1])))
        if value < best:
            best, found = value, (coverage, seen.visibilities / gains, gains, x, number)
    assert found is not None  # of the first round at least
    return Calibrated(*found[:4], tuple(fits), found[4])


def fit_of(closed: Closures, model: Tensor) -> Fit:
    """Return what `chi2` gives of the first of the model's images."""
    phases, amplitudes = closed.chi2(model)
    return float(phases[0]), float(amplitudes[0])


def total(closed: Closures, phases: Tensor, amplitudes: Tensor) -> Tensor:
    """Return chi^2 of both kinds of closure quantity together."""
    counts = closed.counts
    parts = [n * torch.as_tensor(t) for n, t in zip(counts, (phases, amplitudes)) if n]
    return sum(parts, torch.zeros(()))
