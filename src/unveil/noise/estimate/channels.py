"""Is the noise of the channels independent? In a grey image saved as RGB it is the same noise three times.

The correlation of two channels' fine detail, over the blocks with least structure, is that of their noise. It is within
.4 of 0 for independent noise of level .02 on colour photographs in [0, 1], where the rest is detail, and within .15
from .05 on. Copies have 1; rounding by one grey level leaves .9 at a level of 2.5 grey levels.
"""

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, LOW, SIDE, coefficients

__all__ = ["ChannelPair", "dependent_channels"]

CORRELATED = 0.6
ALIKE = 0.1
QUIET = 0.25
"""Of all blocks, those with least structure."""


class ChannelPair(NamedTuple):
    """Two channels, numbered from 0, whose noise correlates; copies: they show the same, too, up to a factor."""

    channels: tuple[int, int]
    correlation: float
    copies: bool


def dependent_channels(images: Iterable[Tensor]) -> ChannelPair | None:
    """Return the pair of channels whose noise correlates most over `images` (C, H, W), or None where no pair's does."""
    fine: list[Tensor] = []  # (C, C): sums of products of fine detail, image by image
    rough: list[Tensor] = []  # of the deviations from the mean
    for image in images:
        if len(image) < 2 or min(image.shape[1:]) < SIDE:
            continue
        z = coefficients(image)
        low = z[LOW].square().mean(0)
        least = (low / low.mean(1, keepdim=True).clamp_min(1e-300)).sum(0).argsort()
        noise = z[HIGH][:, :, least[: max(1, round(QUIET * len(least)))]].transpose(0, 1).flatten(1)
        fine.append(noise @ noise.T)
        deviation = (image.double() - image.double().mean((1, 2), keepdim=True)).flatten(1)
        rough.append(deviation @ deviation.T)
    if not fine:
        return None
    found = []
    for pair in combinations(range(len(fine[0])), 2):
        correlation, similarity = _correlation(sum(fine), *pair), _correlation(sum(rough), *pair)
        # deviations a and b of length one: |a - b|^2 = 2 (1 - similarity)
        found.append(ChannelPair(pair, correlation, 2 * (1 - similarity) < ALIKE**2))
    worst = max(found, key=lambda pair: pair.correlation)
    return worst if worst.correlation > CORRELATED else None


def _correlation(products: Tensor | int, a: int, b: int) -> float:
    """Return the correlation of channels a and b; 1 of two without any deviation, and 0 of one with and one without."""
    p = torch.as_tensor(products)
    scale = float((p[a, a] * p[b, b]).sqrt())
    return float(p[a, b]) / scale if scale > 0 else float(p[a, a] == p[b, b])
