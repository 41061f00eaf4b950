"""Self-calibration: stations' gains from an image, and an image from the visibilities without them.

    g = argmin |V - g_i g_j* A x_0|^2,      x = f(V / (g_i g_j*))       (Readhead and Wilkinson 1978; Cornwell and
                                                    Wilkinson 1981, https://doi.org/10.1093/mnras/196.4.1067)

x_0 is a simulated source whose closure quantities are near those observed (`nearest`): while every phase is a station's
nothing else is known of an image. One turn, not several: f fits whatever visibilities it is given, wrong
gains among them, so that further turns walk away from the prior. Of three simulated sources at M87*'s coverage, which
without gains come out at 31.6, 25.7 and 33.9 dB, one turn left 25.1, 28.2 and 30.0 dB, eight turns 21.6, 25.7 and 29.5,
though closure quantities fit alike.

The flux, which no closure quantity tells, is what makes the median of |g_i g_j| one: that of the calibration before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from unveil.instruments.interferometry.closures import Closures, closures
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.gains import fit_gains
from unveil.instruments.interferometry.simulated import Observation, model_visibilities

__all__ = ["Calibrated", "Fit", "self_calibrate"]

Fit = tuple[float, float]
"""Reduced chi^2 of closure phases, and of log closure amplitudes."""


@dataclass(frozen=True)
class Calibrated:
    """What self-calibration found.

    coverage, visibilities: those observed, divided by gains: the points, and each sigma by |g_i g_j|.
    gains: g_i g_j* (M,).  x: the image (1, 1, H, W).  fits: of the start, and of x.
    """

    coverage: Coverage
    visibilities: Tensor
    gains: Tensor
    x: Tensor
    fits: tuple[Fit, Fit]


def self_calibrate(
    seen: Observation, image: Callable[[Coverage, Tensor], Tensor], start: Tensor, brightness: float
) -> Calibrated:
    """Return the observation calibrated, and its image.

    image: f, (coverage, visibilities (M,)) -> x (1, 1, H, W).  start: x_0 (1, 1, H, W).
    brightness: jansky per pixel of the value 1.
    Raises UnveilError where the observation has no times or no stations.
    """
    closed = closures(seen.coverage, seen.visibilities)

    def model(x: Tensor) -> Tensor:
        return model_visibilities(seen.coverage, x, seen.field_of_view, brightness)

    first = model(start)[0]
    first = first * (seen.visibilities / first).abs().median()
    gains = fit_gains(seen.coverage, seen.visibilities, first)
    gains = gains / gains.abs().median()
    coverage = replace(seen.coverage, sigma=seen.coverage.sigma / gains.abs())
    visibilities = seen.visibilities / gains
    x = image(coverage, visibilities)
    return Calibrated(coverage, visibilities, gains, x, (_fit(closed, model(start)), _fit(closed, model(x))))


def _fit(closed: Closures, model: Tensor) -> Fit:
    phases, amplitudes = closed.chi2(model)
    return float(phases[0]), float(amplitudes[0])
