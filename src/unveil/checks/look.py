"""What a check of the data looks at: a window in the middle of some images, spread over all of them."""

from typing import Literal

from torch import Tensor

from unveil.data import ImageSource, Window
from unveil.errors import UnveilError

__all__ = ["look", "middle", "spread"]

IMAGES = 32
WINDOW = 512
"""How many images are looked at, and the side of the window in the middle of each, pixels."""


def look(source: ImageSource, damaged: Literal["raise", "skip"] = "raise") -> dict[str, Tensor]:
    """Return windows (C, h, w) of at most IMAGES images under the images' names.

    Raises what `source.read` raises, or skips it.
    """
    images = {}
    for i in spread(len(source)):
        try:
            images[source.name(i)] = source.read(i, middle(source.shape(i)))
        except UnveilError:
            if damaged == "raise":
                raise
    return images


def spread(count: int) -> range:
    """Return at most IMAGES of `count` images, spread over all."""
    return range(0, count, -(-count // IMAGES))


def middle(shape: tuple[int, int, int]) -> Window:
    """Return the window of at most WINDOW pixels a side in the middle of an image (C, H, W)."""
    height, width = (min(side, WINDOW) for side in shape[1:])
    return (shape[1] - height) // 2, (shape[2] - width) // 2, height, width
