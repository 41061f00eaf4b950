"""An interval for each pixel, made wide enough by measurements alone.

    x_hat_i - q d_i  <=  x_i  <=  x_hat_i + q d_i,      d_i^2 = c s_i^(2 b)

s_i: the samples' deviation in the WINDOW x WINDOW pixels about i, for that of a few samples at one pixel scatters. How
far x is off x_hat is not seen, but how large it is on average is, wherever Stein's identity is summed:

    E (x_i - x_hat_i)^2 = E [r_i^2 - v_i + 2 p_i]                                  (`unveil.evaluation.shown`)

So b and c are those of least squares of the bracket on c s^(2 b), weighted by 1 / (v + mean v)^2, over the pixels of
all images: its deviation is about v, which of dark pixels is not known well. They hold for any noise family. q is the
quantile of |x - x_hat| / d. The noise hides it: a residual is an error and a noise several times as large, and the form
of a law so blurred is not told by thousands of pixels. It is taken from the samples: sample k among the others, its
deviation from their mean over d of the others, c chosen alike. (ours, after the scores learned from risk estimates of
Everink, Tamo Amougou and Pereyra 2025, https://arxiv.org/abs/2502.05127, which are of whole images)

What is promised, then, is the share of pixels inside, in the mean over images like these, where the errors' law has the
form that samples say, up to its width. No law-free promise can be made: images that differ by less than the noise have
other errors, and the same measurements. A pixel by itself, or those of one kind, may be covered more or less often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.evaluation.by_block import FEWEST, cut
from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.shown import Shown

__all__ = ["Intervals", "Spreads", "fit_intervals", "intervals_record", "spreads"]

WINDOW = 5
"""Pixels, the side of the square over which s^2 is a mean."""
POWERS = torch.linspace(0.25, 1.5, 26, dtype=torch.double)
"""b."""
RESOLVED = 3.0
"""Standard errors by which c must be above 0, for intervals to be told."""
MOST = 2 * 10**5
"""Pixels of an image's samples, among the others, that are looked at."""


@dataclass(frozen=True)
class Spreads:
    """Samples of one image by pixel, on the CPU, in squared units of x; beside what its residual shows.

    own: s^2 (C, H, W). square, noise: (C, H, W), see `Shown`. left, others, there: (N,), of at most MOST pixels of
    samples: the squared deviation of a sample from the mean, of one variance with s^2; s^2 of the others; the noise.
    """

    own: Tensor
    square: Tensor
    noise: Tensor
    left: Tensor
    others: Tensor
    there: Tensor


@dataclass(frozen=True)
class Intervals:
    """c, b, and the q of each of LEVELS."""

    scale: float
    scale_se: float
    power: float
    factors: tuple[float, ...]

    def reach(self, own: Tensor, level: float) -> Tensor:
        """Return q d (C, H, W), half the width of the interval of one of LEVELS, by s^2 (C, H, W)."""
        return self.factors[LEVELS.index(level)] * (self.scale * own**self.power).sqrt()


def spreads(samples: Tensor, shown: Shown) -> Spreads | None:
    """Return the spreads of samples (K, C, H, W), K >= 3, of an image that is seen whole; None of others."""
    if len(samples) < 3 or shown.measured is not None or shown.residual.shape != samples.shape[1:]:
        return None
    count, d = len(samples), (samples - samples.mean(0)).square()
    others = (d.sum(0) - count / (count - 1) * d) / (count - 2)  # the variance without sample k
    own = _smooth(d.sum(0) / (count - 1))
    every = max(1, d.numel() // MOST)
    parts = (count / (count - 1) * d, _smooth(others), shown.noise.expand_as(d))
    return Spreads(own, shown.square, shown.noise, *(part.flatten()[::every].clone() for part in parts))


def _smooth(values: Tensor) -> Tensor:
    size = min(WINDOW, *(side if side % 2 else side - 1 for side in values.shape[-2:]))
    four = values if values.ndim == 4 else values[None]
    return avg_pool2d(four, size, 1, size // 2, count_include_pad=False).reshape(values.shape)


def fit_intervals(seen: Sequence[Spreads]) -> Intervals | None:
    """Return the intervals of all images; None where the error is too little known, or samples do not spread."""
    if not seen:
        return None
    own, square, noise = (
        torch.cat([cut(getattr(one, n).double()) for one in seen]) for n in ("own", "square", "noise")
    )
    if len(own) < FEWEST or not bool((own > 0).all()):
        return None
    level = noise.mean()
    weight = (noise + level) ** -2
    fits = []
    for power in POWERS.tolist():
        s = own**power
        scale = (weight * s * square).sum() / (weight * s.square()).sum()
        fits.append((float((weight * (square - scale * s).square()).mean()), power, float(scale)))
    _, power, scale = min(fits)
    s = own**power
    left = (weight * s * (square - scale * s)).sum(1)  # by block: neighbours err alike
    se = float(left.square().sum().sqrt() / (weight * s.square()).sum())
    if not scale > RESOLVED * se:
        return None
    return Intervals(scale, se, power, _factors(seen, power, float(level)))


def _factors(seen: Sequence[Spreads], power: float, level: float) -> tuple[float, ...]:
    """Return the quantiles of a sample's deviation over d, made of the others."""
    squared, others, noise = (
        torch.cat([getattr(one, n).double() for one in seen]) for n in ("left", "others", "there")
    )
    shape, each = others**power, (noise + level) ** -2
    scale = (each * shape * squared).sum() / (each * shape.square()).sum()
    ranked = (squared / (scale * shape)).sqrt().sort().values
    return tuple(float(ranked[min(int(level * len(ranked)), len(ranked) - 1)]) for level in LEVELS)


def intervals_record(fit: Intervals, seen: Sequence[Spreads], off: Sequence[Tensor]) -> dict[str, Any]:
    """Return the intervals for JSON, and the share of pixels inside. off: |x - x_hat| of images with a reference."""
    inside = [
        [float((one <= fit.reach(s.own, level)).double().mean()) for s, one in zip(seen, off)] for level in LEVELS
    ]
    return {
        "levels": list(LEVELS),
        "half_width": [sum(float(fit.reach(s.own, level).mean()) for s in seen) / len(seen) for level in LEVELS],
        "factors": list(fit.factors),
        "scale": fit.scale,
        "scale_se": fit.scale_se,
        "power": fit.power,
        "images": len(seen),
        "coverage_reference": [sum(row) / len(row) for row in inside] if len(off) == len(seen) else None,
    }
