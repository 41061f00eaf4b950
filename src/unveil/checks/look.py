"""What a check of the data looks at: a window in the middle of some images, spread over all of them."""

from typing import Literal

import torch
from torch import Tensor

from unveil.data import ImageSource, Window
from unveil.errors import UnveilError
from unveil.random import make_generator

__all__ = ["filled", "look", "middle", "missing", "spread"]

IMAGES = 32
WINDOW = 512
"""How many images are looked at, and the side of the window in the middle of each, pixels."""


def look(
    source: ImageSource, damaged: Literal["raise", "skip"] = "raise", gaps: Literal["fill", "keep"] = "fill"
) -> dict[str, Tensor]:
    """Return windows (C, h, w) of at most IMAGES images under the images' names.

    gaps: filled from around them, or kept as NaN. Raises what `source.read` raises, and UnveilError for a window of
    which nothing is known, or skips it.
    """
    images = {}
    for i in spread(len(source)):
        try:
            y = source.read(i, middle(source.shape(i)))
            if bool(y.isnan().flatten(1).all(1).any()):
                raise UnveilError(f"{source.where(i)}: all pixels are blank, saturated or dead: leave it out")
        except UnveilError:
            if damaged == "raise":
                raise
            continue
        images[source.name(i)] = filled(y) if gaps == "fill" else y
    return images


def missing(source: ImageSource) -> float:
    """Return the share of pixels that are not known, of the windows that are looked at."""
    if not source.gaps:
        return 0.0
    parts = look(source, gaps="keep").values()
    return sum(int(y.isnan().sum()) for y in parts) / sum(y.numel() for y in parts)


def filled(y: Tensor) -> Tensor:
    """Return y (C, H, W) with one of the known pixels around it, drawn, in place of each NaN.

    A draw has the noise of its surroundings, and no neighbour in common with the next: means over the known ones, or
    over the image where they are far, as in a blank border, would pass for noise that is correlated, or too weak.
    A channel of which nothing is known stays as it is.
    """
    gaps = y.isnan()
    if not bool(gaps.any()):
        return y
    generator, out, radius = make_generator("cpu", 0), y.clone(), 1
    somewhere, most = ~gaps.all(-1, keepdim=True).all(-2, keepdim=True), torch.tensor(y.shape[1:]) - 1
    while len(left := (out.isnan() & somewhere).nonzero()):
        near = left[:, 1:] + torch.randint(-radius, radius + 1, (len(left), 2), generator=generator)
        rows, columns = near.clamp(torch.zeros(2, dtype=torch.long), most).T
        out[tuple(left.T)] = y[left[:, 0], rows, columns]
        radius = min(radius + 1 + radius // 4, max(y.shape[1:]))
    return out


def spread(count: int) -> range:
    """Return at most IMAGES of `count` images, spread over all."""
    return range(0, count, -(-count // IMAGES))


def middle(shape: tuple[int, int, int]) -> Window:
    """Return the window of at most WINDOW pixels a side in the middle of an image (C, H, W)."""
    height, width = (min(side, WINDOW) for side in shape[1:])
    return (shape[1] - height) // 2, (shape[2] - width) // 2, height, width
