"""Single values that the stated noise does not give: piled up at an end, in coarse steps, or alone among neighbours.

What the noise would give is drawn: y' ~ noise of the local mean of y, so that nothing need be known of the family.

    clipped:   the share of the pixels at the least or greatest value, where y' goes beyond it. Counts have their zeros,
               and y' has none below.
    steps:     the distance of neighbouring values over the noise's deviation, where y' lies between them.
    outliers:  the share of the pixels FAR deviations, and a PART of the range, off the mean of their 8 neighbours,
               which agree among themselves, less TIMES the share in y'. Hot pixels, cosmic rays; detail is not alone.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from unveil.checks.quiet import local_mean
from unveil.noise import Noise

__all__ = ["Values", "alone", "odd_values", "piled_up"]

FAR = 6.0
PART = 0.4
"""Of the range of nearly all values: glints in photographs are less far."""
AGREE = 2.0
"""Deviation of the neighbours, in those of the noise."""
TIMES = 10
MOST = 1_000_000
"""Values that are sorted to find their steps."""
BETWEEN = 0.02
"""Of a step: what is not nearer to a value lies between two."""


class Values(NamedTuple):
    """What `odd_values` finds.

    clipped: the larger of the two ends' shares; at: the value of that end. step: over the noise's deviation, nan where
    the stated noise has those steps itself. outliers: their share.
    """

    clipped: float
    at: float
    step: float
    outliers: float


def odd_values(images: list[Tensor], noises: list[Noise], drawn: list[Tensor]) -> Values:
    """Return the shares in images (C, H, W); drawn: y' of each; noises: of each, a batch of one."""
    y, others = _flat(images), _flat(drawn)
    ends = ((y.min(), -1), (y.max(), 1))
    clipped, at = max((piled_up(y, others, end, side), float(end)) for end, side in ends)
    level = torch.cat([noise.variance(local_mean(x)[None]).flatten() for x, noise in zip(images, noises)]).median()
    usual = y.quantile(torch.tensor([0.01, 0.99]).to(y))
    reach = PART * float(usual[1] - usual[0])
    found = sum(int(alone(x, noise, reach).sum()) for x, noise in zip(images, noises))
    chance = sum(int(alone(x, noise, reach).sum()) for x, noise in zip(drawn, noises))
    share = max(0.0, (found - TIMES * chance) / sum(x.numel() for x in images))
    return Values(clipped, at, _step(y, others) / math.sqrt(max(float(level), 1e-300)), share)


def _flat(images: list[Tensor]) -> Tensor:
    stride = max(1, -(-sum(x.numel() for x in images) // MOST))
    return torch.cat([x.flatten()[::stride] for x in images])


def piled_up(y: Tensor, drawn: Tensor, end: Tensor, side: int) -> float:
    """Return the share of y at `end` that y' would have beyond it; 0 where it would not."""
    there, beyond = float((y == end).double().mean()), float((side * (drawn - end) > 0).double().mean())
    return there if beyond > there / 10 else 0.0


def _step(y: Tensor, drawn: Tensor) -> float:
    """Return the usual distance between neighbouring values; nan where y' has the same ones."""
    values = y.unique()
    if len(values) < 2:
        return math.nan
    step = float(values.diff().median())
    off = ((drawn - values[0]) / step).frac().abs()
    between = (torch.minimum(off, 1 - off) > BETWEEN).double().mean()
    return step if float(between) > BETWEEN else math.nan


def alone(y: Tensor, noise: Noise, reach: float) -> Tensor:
    """Return which pixels of y (C, H, W) are far off their neighbours, and farther than `reach`, which agree."""
    extended = pad(y[None], (1, 1, 1, 1), mode="reflect")[0]
    others = (9 * avg_pool2d(extended, 3, 1) - y) / 8
    spread = (9 * avg_pool2d(extended.square(), 3, 1) - y.square()) / 8 - others.square()
    stated = noise.variance(others[None])[0].clamp_min(0)
    far = (y - others).square() > (FAR**2 * stated * 9 / 8).clamp_min(reach**2)
    return far & (spread < AGREE**2 * stated)
