"""What a check of the data looks at: a window in the middle of some images, spread over all of them."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.data import ImageSource, Window
from unveil.errors import UnveilError

__all__ = ["filled", "look", "middle", "spread"]

IMAGES = 32
WINDOW = 512
"""How many images are looked at, and the side of the window in the middle of each, pixels."""


def look(
    source: ImageSource, damaged: Literal["raise", "skip"] = "raise", gaps: Literal["fill", "keep"] = "fill"
) -> dict[str, Tensor]:
    """Return windows (C, h, w) of at most IMAGES images under the images' names.

    gaps: filled from around them, or kept as NaN. Raises what `source.read` raises, or skips it.
    """
    images = {}
    for i in spread(len(source)):
        try:
            y = source.read(i, middle(source.shape(i)))
        except UnveilError:
            if damaged == "raise":
                raise
            continue
        images[source.name(i)] = filled(y) if gaps == "fill" else y
    return images


def filled(y: Tensor) -> Tensor:
    """Return y (C, H, W) with the mean of what is known of the 3 x 3 pixels around it in place of each NaN.

    Where nothing is, the mean of all.
    """
    gaps = y.isnan()
    if not bool(gaps.any()):
        return y
    known = avg_pool2d((~gaps).to(y)[None], 3, 1, 1)[0]
    around = avg_pool2d(y.nan_to_num(0.0)[None], 3, 1, 1)[0] / known.clamp_min(1e-3)
    return torch.where(gaps, torch.where(known > 0, around, y.nanmean()), y)


def spread(count: int) -> range:
    """Return at most IMAGES of `count` images, spread over all."""
    return range(0, count, -(-count // IMAGES))


def middle(shape: tuple[int, int, int]) -> Window:
    """Return the window of at most WINDOW pixels a side in the middle of an image (C, H, W)."""
    height, width = (min(side, WINDOW) for side in shape[1:])
    return (shape[1] - height) // 2, (shape[2] - width) // 2, height, width
