"""A photon-transfer curve, and the line through it.

    var(y | u) = gain (u - zero),     zero = offset - read^2 / gain

for a detector that counts photons (gain: what one adds to y), and adds an offset and a read noise. The line is fitted
by least squares, each bin weighted by its uncertainty. gain and zero are identified; how zero divides into offset and
read noise is not, see `unveil.noise.estimate.background`. The standard errors are those of the fit, times the root of
its misfit, and of the gain SYSTEMATIC of it, which structure that is taken for noise adds.
"""

import math
from typing import NamedTuple

from torch import Tensor

__all__ = [
    "SYSTEMATIC", "Speckle", "Straight", "TransferCurve", "TransferLine", "coherent_error", "fit_line", "fit_speckle",
    "fit_straight",
]  # fmt: skip

SYSTEMATIC = 0.025
SLOPE, GROWTH = 3.0, 2.0
"""From how many standard errors of the slope, and what ratio of bright to dark, variance is said to grow."""
AGREE, CLOSE = 3.0, 0.05
"""In how many standard errors two numbers agree, or two gains in what share of them."""
ROOM = 0.25
TIMES = 3.0
"""How much nearer than a line a parabola is where it is the law: photographs and cells have 50 to 280."""


class TransferCurve(NamedTuple):
    """Hold brightness, variance of the noise and its standard error (K,), of K bins from dark to bright.

    In the units of y, and their square.
    """

    mean: Tensor
    variance: Tensor
    error: Tensor

    def scaled(self, a: float, mu: float = 0.0) -> "TransferCurve":
        """Return the curve of a y + mu, a > 0."""
        return TransferCurve(a * self.mean + mu, a**2 * self.variance, a**2 * self.error)


class TransferLine(NamedTuple):
    """Hold variance = gain (mean - zero), with standard errors.

    That of gain is independent of that of the variance at `centre`. misfit: chi^2 a degree of freedom, 1 where less.
    significance: the slope in standard errors of the fit alone. level: the variance (K,) at the curve's means.
    """

    gain: float
    gain_error: float
    zero: float
    centre: float
    centre_error: float
    misfit: float
    significance: float
    level: Tensor

    def variance(self, mean: Tensor) -> Tensor:
        """Return the variance at brightness `mean`, of any shape."""
        return self.gain * (mean - self.zero)

    def error(self, mean: float) -> float:
        """Return the standard error of the variance at brightness `mean`."""
        return math.hypot(self.centre_error, self.gain_error * (mean - self.centre))

    @property
    def zero_error(self) -> float:
        """Return the standard error of zero."""
        return self.error(self.zero) / self.gain

    @property
    def span(self) -> float:
        """Return the width of the curve's brightness."""
        return float(self.level[-1] - self.level[0]) / self.gain

    @property
    def grows(self) -> bool:
        """Return whether the noise is seen to grow with brightness: beyond chance, and by a factor that matters."""
        # a line may pass below 0 in the dark: read noise that is little
        return self.significance > SLOPE and float(self.level[-1]) > GROWTH * max(float(self.level[0]), 0.0)

    def crosses(self, brightness: float) -> bool:
        """Return whether the line is zero there, within its errors, which leave no room for much else."""
        return abs(brightness - self.zero) < AGREE * self.zero_error < self.span / 2

    def has_step(self, step: float) -> bool:
        """Return whether the gain is `step`, within its error, which leaves no room for half a step, or CLOSE of it.

        Numbers that were rounded have steps too: a gain that is hardly known agrees with them by chance.
        """
        return abs(step - self.gain) < max(min(AGREE * self.gain_error, step / 2), CLOSE * step)

    def scaled(self, a: float, mu: float = 0.0) -> "TransferLine":
        """Return the line of a y + mu, a > 0."""
        return TransferLine(
            a * self.gain, a * self.gain_error, a * self.zero + mu, a * self.centre + mu, a**2 * self.centre_error,
            self.misfit, self.significance, a**2 * self.level,
        )  # fmt: skip


def coherent_error(curve: TransferCurve, line: TransferLine, images: int) -> float:
    """Return the error of the gain of a curve of so many images, if the bins of an image err all together.

    Structure in the bright makes the gain too large, and in the dark too small, in all of their bins; that of several
    images is independent. Of single photographs of 200 to 1000 photons at white the errors of independent bins held in
    87 to 96%, and these do in all of 45 (the first 56 of BSD400).
    """
    off = (curve.mean - line.centre).abs()
    w = 1 / curve.error.clamp_min(1e-6 * float(curve.variance.abs().max()) + 1e-300)
    return float((off * w).sum() / (off * w).square().sum()) / math.sqrt(images)


class Speckle(NamedTuple):
    """Hold variance = mean^2 / looks, of noise that multiplies an intensity; misfit: chi^2 a degree of freedom."""

    looks: float
    looks_error: float
    misfit: float

    def beats(self, line: TransferLine) -> bool:
        """Return whether the square of the mean is TIMES nearer to the same curve than the line is."""
        return TIMES * self.misfit < line.misfit


def fit_speckle(curve: TransferCurve, systematic: float = SYSTEMATIC) -> Speckle | None:
    """Return the parabola from 0 through the curve; None through fewer than 3 bins, or bins at 0 or below."""
    m, v, error = curve
    if len(m) < 3 or not bool((m > 0).all()):
        return None
    w = 1 / error.clamp_min(1e-6 * float(v.abs().max()) + 1e-300).square()
    spread = (w * m**4).sum()
    share = float((w * m**2 * v).sum() / spread)
    if not share > 0:
        return None
    misfit = float((w * (v - share * m**2).square()).sum()) / (len(m) - 1)
    error_of_share = math.hypot(float((max(1.0, misfit) / spread).sqrt()), systematic * share)
    return Speckle(1 / share, error_of_share / share**2, misfit)


class Straight(NamedTuple):
    """Hold the straight line by least squares through a curve, rising or not: variance `middle` at `centre`, `slope`.

    middle_error, slope_error: by chance, independent of one another. misfit: chi^2 a degree of freedom, 1 where less.
    """

    centre: float
    middle: float
    middle_error: float
    slope: float
    slope_error: float
    misfit: float

    def counts(self, step: float) -> bool:
        """Return whether the variance is `step` times the brightness, as that of photons of which each adds `step`.

        Within its errors, of which that of the middle leaves no room for ROOM of it: where brightness varies little and
        the slope is hardly known, numbers that were rounded have steps that a variance agrees with by chance.
        """
        middle, systematic = step * self.centre, SYSTEMATIC * step
        near = min(AGREE * math.hypot(self.middle_error, systematic * self.centre), ROOM * middle)
        return abs(self.middle - middle) < near and abs(self.slope - step) < AGREE * math.hypot(
            self.slope_error, systematic
        )


def fit_straight(curve: TransferCurve) -> Straight | None:
    """Return the straight line through the curve; None through fewer than 2 bins."""
    m, v, error = curve
    if len(m) < 2:
        return None
    w = 1 / error.clamp_min(1e-6 * float(v.abs().max()) + 1e-300).square()
    centre = (w * m).sum() / w.sum()
    spread = (w * (m - centre).square()).sum()
    middle = (w * v).sum() / w.sum()
    slope = float((w * (m - centre) * v).sum() / spread)
    left = float((w * (v - middle - slope * (m - centre)).square()).sum())
    misfit = max(1.0, left / (len(m) - 2)) if len(m) > 2 else 1.0
    return Straight(
        float(centre), float(middle), float((misfit / w.sum()).sqrt()), slope, float((misfit / spread).sqrt()), misfit
    )


def fit_line(curve: TransferCurve, systematic: float = SYSTEMATIC) -> TransferLine | None:
    """Return the line through the curve; None through fewer than 3 bins, and where it does not rise.

    systematic: the share of the gain that it may err by besides chance; 0 of repeats, in which structure cancels.
    """
    line = fit_straight(curve)
    if line is None or len(curve.mean) < 3 or not line.slope > 0:
        return None
    level = line.middle + line.slope * (curve.mean - line.centre)
    return TransferLine(
        line.slope, math.hypot(line.slope_error, systematic * line.slope), line.centre - line.middle / line.slope,
        line.centre, line.middle_error, line.misfit, line.slope / line.slope_error, level,
    )  # fmt: skip
