"""Does the noise grow with brightness, as that of counted photons does?

A photon-transfer curve of the images themselves (`unveil.noise.estimate.transfer`), and whether the line through it
grows.

The thresholds were chosen on photographs of scikit-image; benchmarks/contradictions_check.py measures how often it errs
on others: photographs of BSD400 in white noise of level .02 to .2 passed for growing in none of 320 sets. Poisson noise
of 20 to 1000 photons at white, and a camera's with an offset and read noise, is told in all of 20 sets of four
photographs, and in 15 to 20 of 20 single ones of 180 x 180 pixels, best where photons are few.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from unveil.noise.estimate.line import fit_line
from unveil.noise.estimate.transfer import transfer_curve

__all__ = ["Growth", "noise_growth"]


class Growth(NamedTuple):
    """The noise's deviation at two brightnesses, dark and bright, on the images' own scale."""

    dark: float
    bright: float
    level_dark: float
    level_bright: float


def noise_growth(images: Sequence[Tensor]) -> Growth | None:
    """Return how the noise of `images` (C, H, W), in common units, grows with brightness; None where it does not."""
    curve = transfer_curve(images)
    line = fit_line(curve)
    if line is None or not line.grows:
        return None
    # a line may pass below 0 in the dark: read noise that is little
    dark, bright = max(float(line.level[0]), 0.0), float(line.level[-1])
    return Growth(float(curve.mean[0]), float(curve.mean[-1]), math.sqrt(dark), math.sqrt(bright))
