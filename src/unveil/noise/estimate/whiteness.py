"""Is the noise white, as every loss here supposes?

Noise that a detector, resampling, demosaicing or compression has blurred is not. In the blocks with least structure
noise is nearly all that is left, and white noise is as strong in MID as in HIGH frequencies. Texture raises MID there,
by a factor of 2 at most on photographs in [0, 1] with noise of level .02 (grass).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, LOW, MID, SIDE, coefficients, median_variance

__all__ = ["LARGEST_TILT", "is_white", "noise_tilt"]

QUIET = 0.1
LARGEST_TILT = 3.0
"""Above it, or below its inverse, noise is not white."""


def noise_tilt(images: Sequence[Tensor]) -> float | None:
    """Return the variance of the noise of `images` (C, H, W) in MID over that in HIGH frequencies.

    None where neither is left.
    """
    parts = []
    for image in images:
        if min(image.shape[1:]) >= SIDE:
            z = coefficients(image).flatten(1)
            low = z[LOW].square().mean(0)
            quiet = low.argsort()[: max(8, round(QUIET * len(low)))]
            parts.append((z[MID][:, quiet].square(), z[HIGH][:, quiet].square()))
    if not parts:
        return None
    mid, high = (median_variance(torch.cat(part, 1)) for part in zip(*parts))
    return mid / high if high > 0 else None


def is_white(images: Sequence[Tensor]) -> bool:
    """Return whether the noise of `images` (C, H, W) is as strong in MID as in HIGH frequencies, or none is seen."""
    tilt = noise_tilt(images)
    return tilt is None or 1 / LARGEST_TILT < tilt < LARGEST_TILT
