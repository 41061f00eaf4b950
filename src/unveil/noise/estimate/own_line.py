"""The photon-transfer line of one image by itself, of whatever gain.

    v(y) = V + gain (y - c),     zero = c - V / gain

The variance V at the centre c of the image's brightness is known well, its gain less well where brightness differs
little.
"""

import math
from typing import NamedTuple

from torch import Tensor

from unveil.noise.estimate.background import darkest_flat
from unveil.noise.estimate.line import SLOPE, SYSTEMATIC, TransferCurve, fit_straight
from unveil.noise.estimate.transfer import blocks_of, curve_of

__all__ = ["OwnLine", "own_line"]

UNKNOWN, SMALL = 0.5, 0.25
"""The error of the variance, as a share of it, up to which it is known; the share of V that less variance counts as."""


class OwnLine(NamedTuple):
    """Hold the line of one image: V (level) at c (centre), gain, its error and significance.

    significance: the gain in its errors by chance. uncertainty: the error of the variance over the brightness of the
    image, at worst, as a share of it. darkest: the brightness of dark flat parts; background: whether it is that of a
    background. curve: what it rests on.
    """

    centre: float
    level: float
    gain: float
    gain_error: float
    significance: float
    uncertainty: float
    darkest: float
    background: bool
    curve: TransferCurve

    @property
    def zero(self) -> float:
        """Return the brightness at which the line is zero."""
        return self.centre - self.level / self.gain

    @property
    def dark_photons(self) -> float:
        """Return the variance of the darkest flat parts in squared photons: the square of the read noise at most."""
        return (self.darkest - self.zero) / self.gain

    @property
    def known(self) -> bool:
        """Return whether the gain is seen, and the variance known well enough."""
        return self.significance > SLOPE and self.uncertainty < UNKNOWN


def own_line(image: Tensor) -> OwnLine | None:
    """Return the line of `image` (C, H, W), rising or not; None where nothing can be measured."""
    blocks = blocks_of([image])
    curve = curve_of(blocks)
    line = fit_straight(curve)
    if line is None or not line.middle > 0:
        return None
    gain_error = math.hypot(line.slope_error, SYSTEMATIC * line.slope)
    off = [float(curve.mean[k]) - line.centre for k in (0, -1)]
    bottom, top = (line.middle + line.slope * x for x in off)
    uncertain = [
        math.hypot(line.middle_error, gain_error * x) / max(v, SMALL * line.middle) for x, v in zip(off, (bottom, top))
    ]
    darkest, _, background = darkest_flat(lambda m: line.middle + line.slope * (m - line.centre), curve, blocks)
    return OwnLine(
        line.centre, line.middle, line.slope, gain_error, line.slope / line.slope_error,
        max(uncertain), darkest, background, curve,
    )  # fmt: skip
