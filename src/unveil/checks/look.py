"""What a check of the data looks at: a window in the middle of some images, spread over all of them."""

from typing import Literal

import torch
from torch import Tensor

from unveil.data import ImageSource, Window
from unveil.errors import UnveilError
from unveil.operators.base import Operator
from unveil.random import make_generator

__all__ = ["few", "filled", "look", "middle", "missing", "spread"]

IMAGES = 32
WINDOW = 512
"""How many images are looked at, and the side of the window in the middle of each, pixels."""
MEASUREMENTS = 8
"""How many of incomplete ones, each whole."""
NEAR = (1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32)
"""Within how many pixels of a gap is looked for a known one, in turn."""


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


def few(source: ImageSource, operator: Operator) -> tuple[Tensor, Tensor, Operator]:
    """Return the numbers (B,) of some of the measurements, themselves (B, C, H, W), and their operators."""
    which = torch.arange(0, len(source), -(-len(source) // MEASUREMENTS))
    return which, torch.stack([source.read(int(i)) for i in which]), operator.select(which)


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
    Where none is found near it is one of any of the channel's; a channel of which nothing is known stays as it is.
    """
    gaps = y.isnan()
    if not bool(gaps.any()):
        return y
    generator, out = make_generator("cpu", 0), y.clone()
    least, most = torch.zeros(2, dtype=torch.long), torch.tensor(y.shape[1:]) - 1
    for radius in NEAR:
        left = out.isnan().nonzero()
        near = left[:, 1:] + torch.randint(-radius, radius + 1, (len(left), 2), generator=generator)
        rows, columns = near.clamp(least, most).T
        out[tuple(left.T)] = y[left[:, 0], rows, columns]
    for channel, known in zip(out, (seen[~gap] for seen, gap in zip(y, gaps))):
        far = channel.isnan()
        if len(known) and bool(far.any()):
            channel[far] = known[torch.randint(len(known), (int(far.sum()),), generator=generator)]
    return out


def spread(count: int) -> range:
    """Return at most IMAGES of `count` images, spread over all."""
    return range(0, count, -(-count // IMAGES))


def middle(shape: tuple[int, int, int]) -> Window:
    """Return the window of at most WINDOW pixels a side in the middle of an image (C, H, W)."""
    height, width = (min(side, WINDOW) for side in shape[1:])
    return (shape[1] - height) // 2, (shape[2] - width) // 2, height, width
