"""Sums over blocks of what samples were, beside what came.

Neighbouring entries err alike. So all is counted by blocks, which are nearly independent of one another, and standard
errors are from the scatter over blocks. Ratios of variances are sums over sums: those of entries have no mean.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["FEWEST", "Entries", "by_brightness", "cut", "known", "ratio_of", "sums_by_block"]

BLOCK = 16
"""Pixels, the side of a block; 8 of images under 64 pixels."""
GROUPS = 5
"""Of entries, by brightness."""
FEWEST = 8
"""Blocks, below which no standard error is told."""


class Entries(Protocol):
    """What is looked at, by entry (*measurement), on the CPU.

    spread: the variance of samples. square: an unbiased estimate of the squared error. brightness: of the estimate.
    measured: boolean, or None: all.
    """

    @property
    def spread(self) -> Tensor: ...

    @property
    def square(self) -> Tensor: ...

    @property
    def brightness(self) -> Tensor: ...

    @property
    def measured(self) -> Tensor | None: ...


def known(one: Entries) -> Tensor:
    """Return 1 for entries that are measured, else 0, in float64."""
    return torch.ones_like(one.spread).double() if one.measured is None else one.measured.double()


def sums_by_block(seen: Sequence[Entries], name: str) -> Tensor:
    """Return the sums (N,) over the blocks of all."""
    return torch.cat([cut(getattr(one, name).double() * known(one)).sum(1) for one in seen])


def cut(value: Tensor) -> Tensor:
    """Return the entries (C, H, W) by block of all channels; of other measurements by stretches of the same size."""
    side = BLOCK if min(value.shape[-2:]) >= 4 * BLOCK else BLOCK // 2
    if value.ndim != 3 or min(value.shape[1:]) < side:
        flat = value.flatten()
        size = min(BLOCK**2, len(flat))
        return flat[: len(flat) // size * size].reshape(-1, size)
    c, h, w = value.shape
    whole = value[:, : h // side * side, : w // side * side]
    return whole.reshape(c, h // side, side, w // side, side).permute(1, 3, 0, 2, 4).reshape(-1, c * side * side)


def ratio_of(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Return the ratio of the sums of blocks (N,) and its standard error; nan where it cannot be told."""
    if not float(b.sum()) > 0:
        return math.nan, math.nan
    ratio = float(a.sum() / b.sum())
    se = float((a - ratio * b).square().sum().sqrt() / b.sum())
    return ratio, se if len(a) >= FEWEST else math.nan


def by_brightness(seen: Sequence[Entries]) -> list[dict[str, float]]:
    """Return the spread and the error of entries, both in the units of y, from dark to bright."""
    means = [cut(_smooth(one.brightness)) for one in seen]
    kept = [cut(known(one)) for one in seen]
    all_of_it = torch.cat([mean[mask > 0] for mean, mask in zip(means, kept)])
    edges = torch.quantile(
        all_of_it[:: max(1, len(all_of_it) // 10**6)], torch.linspace(0, 1, GROUPS + 1).to(all_of_it)
    )
    rows = []
    for low, high in pairwise(edges):
        over, under, level, count = [], [], 0.0, 0.0
        for one, mean, mask in zip(seen, means, kept):
            which = mask * ((mean >= low) & (mean <= high))
            over.append((cut(one.spread.double()) * which).sum(1))
            under.append((cut(one.square.double()) * which).sum(1))
            level, count = level + float((mean * which).sum()), count + float(which.sum())
        ratio, se = ratio_of(torch.cat(over), torch.cat(under))
        spread, error = (float(torch.cat(part).sum()) / max(count, 1) for part in (over, under))
        rows.append(
            {
                "brightness": level / max(count, 1),
                "spread": math.sqrt(max(spread, 0)),
                "error": math.sqrt(error) if error > 0 else math.nan,
                "ratio": ratio,
                "se": se,
            }
        )
    return rows


def _smooth(value: Tensor) -> Tensor:
    """Return the mean of each entry with its neighbours, of the size of `value` (C, H, W); others as they are."""
    return avg_pool2d(value[None], 3, 1, 1, count_include_pad=False)[0].double() if value.ndim == 3 else value.double()
