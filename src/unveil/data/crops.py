"""Random windows of random images: the batches of training.

An image is drawn with probability proportional to its number of pixels H W, so that every measured pixel has
about the same say: uniform over images would repeat small images, and proportional to the number of windows
would all but ignore an image only just larger than the window. Within the image the window is uniform.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from unveil.data.source import ImageSource
from unveil.errors import UnveilError

__all__ = ["Boxes", "crops", "draw_boxes", "read_boxes"]

_layouts: WeakKeyDictionary[ImageSource, tuple[Tensor, Tensor, Tensor]] = WeakKeyDictionary()


class Boxes(NamedTuple):
    """Hold where windows lie: of which images, with which corner, how turned; each (B,), whole numbers, on the CPU.

    turns: of 8; turn % 4 quarter turns, then from 4 on a flip of the columns. size: their side, pixels.
    """

    images: Tensor
    tops: Tensor
    lefts: Tensor
    turns: Tensor
    size: int


def crops(source: ImageSource, batch: int, size: int, generator: torch.Generator, augment: bool = True) -> Tensor:
    """Draw a batch (B, C, size, size) of windows, float32 on the CPU: those of `draw_boxes`."""
    return read_boxes(source, draw_boxes(source, batch, size, generator, augment))


def draw_boxes(source: ImageSource, batch: int, size: int, generator: torch.Generator, augment: bool = True) -> Boxes:
    """Draw where a batch of windows lies.

    batch: B. size: height and width of a window, pixels. generator: on the CPU, the only source of
    randomness; the windows it draws are the same with and without augment. augment: turn each by one of the
    8 flips and rotations, drawn uniformly; leave it out if the noise differs along rows and columns.
    Raises UnveilError if batch or size is below 1, or if an image is smaller than the window.
    """
    if batch < 1 or size < 1:
        raise UnveilError(f"batch is {batch} and crop is {size}: both must be at least 1")
    if generator.device.type != "cpu":
        raise UnveilError(f"the generator of the crops is on {generator.device}: pass one on the CPU")
    heights, widths, ends = _layout(source)
    smallest = int(torch.minimum(heights, widths).argmin())
    h, w = int(heights[smallest]), int(widths[smallest])
    if min(h, w) < size:
        raise UnveilError(
            f"{source.where(smallest)} is the smallest image, {h}x{w} pixels, and the crop is {size}: "
            f"lower the crop to at most {min(h, w)}, or leave that image out"
        )
    u = torch.rand(batch, 4, generator=generator, dtype=torch.float64)
    images = torch.searchsorted(ends, u[:, 0] * ends[-1], right=True).clamp_(max=len(source) - 1)
    tops = (u[:, 1] * (heights[images] - size + 1)).long()
    lefts = (u[:, 2] * (widths[images] - size + 1)).long()
    turns = (u[:, 3] * 8).long() if augment else torch.zeros(batch, dtype=torch.long)
    return Boxes(images, tops, lefts, turns, size)


def read_boxes(source: ImageSource, boxes: Boxes) -> Tensor:
    """Return the windows (B, C, size, size), turned, float32 on the CPU. Raises UnveilError for a bad read."""
    batch, size = len(boxes.images), boxes.size
    out = np.empty((batch, source.channels, size, size), np.float32)  # NumPy: no threads for so small a task
    for b, (i, top, left, turn) in enumerate(torch.stack(boxes[:4], 1).tolist()):
        x = np.rot90(source.read(i, (top, left, size, size)).numpy(), turn % 4, (1, 2))
        out[b] = x[:, :, ::-1] if turn >= 4 else x
    return torch.from_numpy(out)


def _layout(source: ImageSource) -> tuple[Tensor, Tensor, Tensor]:
    """Return the heights (n,), widths (n,) and cumulative numbers of pixels (n,) of a source, computed once."""
    if source not in _layouts:
        heights, widths = torch.tensor([source.shape(i)[1:] for i in range(len(source))]).T
        _layouts[source] = (heights, widths, (heights.double() * widths.double()).cumsum(0))
    return _layouts[source]
