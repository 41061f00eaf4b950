"""Self-calibration: stations' gains from an image, and an image from the visibilities without them.

    g = argmin |V - g_i g_j* A x_0|^2,      x = f(V / (g_i g_j*))       (Readhead and Wilkinson 1978; Cornwell and
                                                    Wilkinson 1981, https://doi.org/10.1093/mnras/196.4.1067)

x_0 is a simulated source whose closure quantities are near those observed (`nearest`): while every phase is a station's
nothing else is known of an image. f fits whatever visibilities it is given, wrong gains among them, so that each turn
walks a little away from the prior; where x_0 itself fits, nothing is gained by that, and there is one turn. Where it
does not, because no simulated source is like the one observed, its gains are wrong, and those of x are better: then x
takes the place of x_0, for TURNS turns. Of simulated sources at M87*'s coverage one turn left 26.6 dB in the mean and
four 26.0; of the same with a bright spot beside, of which no x_0 knows, one left 21.8 and four 22.5, and chi^2 went
from 2.7 to 1.3 (`benchmarks/turns.py`).

The flux, which no closure quantity tells, is what makes the median of |g_i g_j| one: that of the calibration before.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from unveil.instruments.interferometry.closures import Closures, closures
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.gains import fit_gains
from unveil.instruments.interferometry.simulated import Observation, model_visibilities

__all__ = ["FITS", "TURNS", "Calibrated", "Fit", "misfit", "self_calibrate", "worst"]

FITS = 2.0
"""Reduced chi^2 of closure quantities up to which an image is taken to be that of the observation."""
TURNS = 4
"""Of an observation of which no simulated source is: each further one gains less."""

Fit = tuple[float, float]
"""Reduced chi^2 of closure phases, and of log closure amplitudes."""


@dataclass(frozen=True)
class Calibrated:
    """What self-calibration found.

    coverage, visibilities: those observed, divided by gains: the points, and each sigma by |g_i g_j|.
    gains: g_i g_j* (M,).  x: the image (1, 1, H, W).  fits: of the start, and of the image after each turn.
    """

    coverage: Coverage
    visibilities: Tensor
    gains: Tensor
    x: Tensor
    fits: tuple[Fit, ...]


def self_calibrate(
    seen: Observation,
    image: Callable[[Coverage, Tensor], Tensor],
    start: Tensor,
    brightness: float,
    turns: int = TURNS,
) -> Calibrated:
    """Return the observation calibrated, and its image.

    image: f, (coverage, visibilities (M,)) -> x (1, 1, H, W).  start: x_0 (1, 1, H, W).
    brightness: jansky per pixel of the value 1.  turns: where the start does not fit; elsewhere there is one.
    Raises UnveilError where the observation has no times or no stations.
    """
    closed = closures(seen.coverage, seen.visibilities)

    def model(x: Tensor) -> Tensor:
        return model_visibilities(seen.coverage, x, seen.field_of_view, brightness)

    x, fits = start, [_fit(closed, model(start))]
    for _ in range(1 if worst(fits[0]) <= FITS else turns):
        like = model(x)[0]
        like = like * (seen.visibilities / like).abs().median()
        gains = fit_gains(seen.coverage, seen.visibilities, like)
        gains = gains / gains.abs().median()
        coverage = replace(seen.coverage, sigma=seen.coverage.sigma / gains.abs())
        x = image(coverage, seen.visibilities / gains)
        fits.append(_fit(closed, model(x)))
    return Calibrated(coverage, seen.visibilities / gains, gains, x, tuple(fits))


def misfit(fits: tuple[Fit, ...]) -> str | None:
    """Return why the image may not fit the closure quantities, given the fits of `Calibrated`; None where it fits."""
    start, last = worst(fits[0]), worst(fits[-1])
    if not last > FITS:
        return None
    why = "the source is unlike those that were simulated, or the noise is larger than stated"
    if start <= FITS:
        why = f"a simulated source does ({start:.1f}), so the network learned at other points (u, v), or too briefly"
    return f"the image does not fit the closure quantities, reduced chi^2 {last:.1f}: {why}"


def worst(fit: Fit) -> float:
    """Return the larger chi^2 of those that there are: an observation may have closures of one kind alone."""
    return max((value for value in fit if not math.isnan(value)), default=math.nan)


def _fit(closed: Closures, model: Tensor) -> Fit:
    phases, amplitudes = closed.chi2(model)
    return float(phases[0]), float(amplitudes[0])
