"""Single pixels far outside of the range of all others: hot pixels, cosmic rays.

A median over 3 x 3 pixels removes them and leaves the image's range. An outlier lies beyond that range by a QUARTER of
it and by FAR deviations of the image from its median. Specks inside the range are not told from detail.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["outliers"]

FAR, QUARTER = 6.0, 0.25
MOST = 0.02
"""The share of the pixels from which they are no outliers any more."""


def outliers(image: Tensor) -> Tensor:
    """Return which entries of `image` (C, H, W) are outliers: a mask of its shape."""
    channels, height, width = image.shape
    extended = pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    shifted = [extended[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    median = torch.stack(shifted).median(0).values
    low, high = (end.reshape(channels, 1, 1) for end in median.flatten(1).aminmax(dim=1))
    away = (image - median).abs().flatten(1)
    deviation = torch.maximum(1.4826 * away.median(1).values, away.clamp(max=1e30).mean(1)).reshape(channels, 1, 1)
    reach = QUARTER * (high - low) + FAR * deviation
    found = (image > high + reach) | (image < low - reach)
    return found if float(found.double().mean()) <= MOST else torch.zeros_like(found)
