"""An interval for each pixel, made wide enough by measurements alone.

    x_hat_i - q d_i  <=  x_i  <=  x_hat_i + q d_i,      d_i^2 = a + c s_i^2,      a, c >= 0

s_i^2: the samples' variance in the WINDOW x WINDOW pixels about i, for that of a few samples at one pixel scatters. How
far x is off x_hat is not seen, but how large it is on average is, wherever Stein's identity is summed:

    E (x_i - x_hat_i)^2 = E [r_i^2 - v_i + 2 p_i]                                  (`unveil.evaluation.shown`)

So a and c are those of least squares of the bracket, weighted by about its variance, (v + d^2 + FLOOR mean v)^-2, over
the pixels of all images; of bright and dark ones, so that it holds for any noise family.

q is that of a normal law whose variance differs from d^2 by a factor W from place to place, log W normal: the more it
differs, the more errors are small, and the more are large. How much it differs is seen by pixels i, j some way apart,

    E [(q_i - d_i^2) (q_j - d_j^2)] / E [d_i^2 d_j^2] = E (W - 1)^2,      q: the bracket, `NEAR` <= |i - j| <= `FAR`

for the noises of i and j are independent, and what the estimate of one follows of the noise of the other cancels where
the estimate is a posterior mean: its errors' covariance is v J. (ours, after the scores learned from risk estimates of
Everink, Tamo Amougou and Pereyra 2025, https://arxiv.org/abs/2502.05127, which are of whole images)

What is promised is the share of pixels inside, in the mean over images like these, where errors have such a law. No
law-free promise can be made: images that differ by less than the noise have other errors, and the same measurements. A
pixel by itself, or those of one kind, may be covered more or less often; and with the d and q of the images at hand the
share is off by `level_se`: by how much images differ, and what is not known of W. Measured rates: docs/evidence.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from unveil.evaluation.by_block import FEWEST, cut
from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.mixture import inside, quantile, slope
from unveil.evaluation.shown import Shown

__all__ = ["Intervals", "Spreads", "fit_intervals", "intervals_record", "spreads"]

WINDOW = 9
"""Pixels, the side of the square over which s^2 and the weights are means."""
FLOOR, ROUNDS = 0.3, 4
"""Of the mean variance, in the weights: that of dark pixels is not known well; and how often they are found again."""
RESOLVED = 3.0
"""Standard errors by which the error must be above 0, for intervals to be told."""
NEAR, FAR = 2.0, 4.0
"""Pixels, between those whose products tell how W varies."""
MOST = 3.0
"""Of E (W - 1)^2, that is believed."""
FEW_IMAGES = 3
"""Below which how images differ is not known."""


@dataclass(frozen=True)
class Spreads:
    """One image by pixel, (C, H, W) each, on the CPU, in squared units of x: s^2; and `Shown.square`, `Shown.noise`."""

    own: Tensor
    square: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Intervals:
    """a, c, E (W - 1)^2 with its standard error, and the q of each of LEVELS with what its level is off by.

    se: the standard error of the squared error over it, by how blocks and images differ.
    """

    floor: float
    scale: float
    se: float
    varied: float
    varied_se: float
    factors: tuple[float, ...]
    level_se: tuple[float, ...]

    def variance(self, own: Tensor) -> Tensor:
        """Return d^2 by s^2."""
        return self.floor + self.scale * own

    def reach(self, own: Tensor, level: float) -> Tensor:
        """Return q d (C, H, W), half the width of the interval of one of LEVELS, by s^2 (C, H, W)."""
        return self.factors[LEVELS.index(level)] * self.variance(own).sqrt()


def spreads(samples: Tensor, shown: Shown) -> Spreads | None:
    """Return the spreads of samples (K, C, H, W), K >= 3, of an image that is seen whole; None of others."""
    if len(samples) < 3 or shown.measured is not None or shown.residual.shape != samples.shape[1:]:
        return None
    return Spreads(_smooth(samples.var(0)), shown.square, shown.noise)


def _smooth(values: Tensor) -> Tensor:
    size = min(WINDOW, *(side if side % 2 else side - 1 for side in values.shape[-2:]))
    return avg_pool2d(values[None], size, 1, size // 2, count_include_pad=False)[0]


def fit_intervals(seen: Sequence[Spreads]) -> Intervals | None:
    """Return the intervals of all images; None where the error is too little known, or samples do not spread."""
    if not seen or not all(bool((one.own > 0).all()) for one in seen):
        return None
    triples = [(one.own.double(), one.square.double(), _smooth(one.noise).double()) for one in seen]
    own, square, noise = (torch.cat([part.flatten() for part in parts]) for parts in zip(*triples))
    level = float(noise.mean())
    spread = torch.zeros_like(own) + level
    for _ in range(ROUNDS + 1):
        weight = (noise + spread + FLOOR * level) ** -2
        floor, scale = _two(weight, own, square)
        spread = floor + scale * own
    if not float(spread.sum()) > 0:
        return None
    parts = []
    for s2, q, v in triples:
        d2 = floor + scale * s2
        parts.append((d2, q - d2, (v + d2 + FLOOR * level) ** -2))
    blocks = [cut(w * d2 * left).sum(1) for d2, left, w in parts]
    total = sum(float((w * d2.square()).sum()) for d2, _, w in parts)
    se = _root(blocks) / total
    if sum(map(len, blocks)) < FEWEST or not RESOLVED * se < 1:
        return None
    varied, varied_se = _varied(parts)
    known = min(max(varied, 0.0) ** 3 / max(varied**2 + varied_se**2, 1e-30), MOST)  # less of it, where it is not known
    factors = tuple(quantile(known, level) for level in LEVELS)
    off = tuple(math.hypot(slope(known, q) * se, inside(known + varied_se, q) - level)
                for q, level in zip(factors, LEVELS))  # fmt: skip
    return Intervals(floor, scale, se, varied, varied_se, factors, off)


def _two(weight: Tensor, own: Tensor, square: Tensor) -> tuple[float, float]:
    """Return a, c >= 0 of the weighted least squares of `square` on a + c s^2."""
    one, s, both = weight.sum(), (weight * own).sum(), (weight * own.square()).sum()
    y, ys = (weight * square).sum(), (weight * own * square).sum()
    least = (one * both - s * s).clamp_min(1e-12 * one * both)
    floor, scale = (both * y - s * ys) / least, (one * ys - s * y) / least
    if floor < 0:
        return 0.0, max(float(ys / both), 0.0)
    if scale < 0:
        return max(float(y / one), 0.0), 0.0
    return float(floor), float(scale)


def _varied(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float]:
    """Return E (W - 1)^2 and its standard error, of the d^2, the brackets less them, and the weights of images."""
    reach = int(FAR)
    side = torch.arange(-reach, reach + 1, dtype=torch.double)
    distance = torch.hypot(side[:, None], side)
    ring = ((distance >= NEAR) & (distance <= FAR)).double()[None, None]
    over: list[Tensor] = []
    under: list[Tensor] = []
    for d2, left, w in parts:
        for found, value in ((over, w * left), (under, w * d2)):
            about = conv2d(value[:, None], ring, padding=reach)[:, 0]
            found.append(cut(value * about).sum(1))
    total = sum(float(b.sum()) for b in under)
    varied = sum(float(a.sum()) for a in over) / total
    return varied, _root([a - varied * b for a, b in zip(over, under)]) / total


def _root(blocks: Sequence[Tensor]) -> float:
    """Return the standard error of the sum of blocks of images, of mean 0: by blocks, or by images where that is more.

    What of W a whole image has, its blocks have in common; of fewer than FEW_IMAGES that is not known.
    """
    by_block = sum(float(one.square().sum()) for one in blocks)
    by_image = sum(float(one.sum()) ** 2 for one in blocks) if len(blocks) >= FEW_IMAGES else 0.0
    return math.sqrt(max(by_block, by_image))


def intervals_record(fit: Intervals, seen: Sequence[Spreads], off: Sequence[Tensor]) -> dict[str, Any]:
    """Return the intervals for JSON, and the share of pixels inside. off: |x - x_hat| of images with a reference."""
    shares = [
        [float((one <= fit.reach(s.own, level)).double().mean()) for s, one in zip(seen, off)] for level in LEVELS
    ]
    return {
        "levels": list(LEVELS),
        "level_se": list(fit.level_se),
        "half_width": [sum(float(fit.reach(s.own, level).mean()) for s in seen) / len(seen) for level in LEVELS],
        "factors": list(fit.factors),
        "floor": fit.floor,
        "scale": fit.scale,
        "se": fit.se,
        "varied": fit.varied,
        "varied_se": fit.varied_se,
        "images": len(seen),
        "coverage_reference": [sum(row) / len(row) for row in shares] if len(off) == len(seen) else None,
    }
