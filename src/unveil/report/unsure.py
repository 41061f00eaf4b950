"""Where samples differ, and why: their deviation in bright and in dark places of the estimate, and at its edges."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["Place", "where_unsure"]

BLOCK = 16
"""Side of the blocks, pixels, in which the largest deviations are looked for."""
PLACES = 3
SAID = 1.15
"""The ratio from which bright and dark places, or edges and others, are said to differ."""


@dataclass(frozen=True)
class Place:
    """A block of the picture: its middle as shares of width and height, its root-mean-square deviation in units."""

    x: float
    y: float
    value: float


def where_unsure(deviation: Tensor, estimate: Tensor) -> tuple[list[Place], str]:
    """Return the places where the deviation (H, W) is largest, and a line on where that is, by the estimate (H, W)."""
    height, width = deviation.shape
    side = max(1, min(BLOCK, height, width))
    blocks = avg_pool2d(deviation.square()[None], side)[0].sqrt()
    value, index = blocks.flatten().topk(min(PLACES, blocks.numel()))
    columns = blocks.shape[1]
    places = [
        Place((int(i) % columns + 0.5) * side / width, (int(i) // columns + 0.5) * side / height, float(v))
        for v, i in zip(value, index)
    ]
    middle = float(deviation.median())
    line = f"In the middle {middle:.3g}, at most {float(deviation.max()):.3g}."
    steep = steepness(estimate)
    edges = steep > share(steep, 0.9)
    at_edges = ratio(deviation, edges, ~edges)
    in_bright = ratio(deviation, estimate >= share(estimate, 2 / 3), estimate <= share(estimate, 1 / 3))
    if at_edges > SAID:
        line += (
            f" At the estimate's edges and texture, its steepest tenth, {at_edges:.1f} times as large as elsewhere: "
        )
        line += "the noise hides where exactly they lie."
    if not 1 / SAID < in_bright < SAID:
        line += f" In the brightest third {in_bright:.2g} times as large as in the darkest."
    return places, line


def steepness(x: Tensor) -> Tensor:
    """Return |grad x| (H, W) by central differences, per pixel."""
    padded = torch.nn.functional.pad(x[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return (across.square() + down.square()).sqrt() / 2


def share(x: Tensor, part: float) -> Tensor:
    """Return the value below which this part of x (H, W) is."""
    values = x.flatten().sort().values
    return values[min(len(values) - 1, int(part * len(values)))]


def ratio(deviation: Tensor, there: Tensor, elsewhere: Tensor) -> float:
    """Return the ratio of the mean deviations in two parts of a picture; 1 where one is empty."""
    if not bool(there.any()) or not bool(elsewhere.any()):
        return 1.0
    return float(deviation[there].mean() / deviation[elsewhere].mean().clamp_min(1e-30))
