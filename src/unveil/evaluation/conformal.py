"""How large is the error of the next image? Conformal bounds that need no truth.

Of n images like the next one, measured and estimated alike, let s_1 <= ... <= s_n be the errors |A (f(y) - x)|^2 / m.
With the next one's all orders are equally likely, so that it is at most s_k with probability k / (n + 1), whatever the
law of the images is (Vovk, Gammerman and Shafer 2005, https://doi.org/10.1007/b106715). In place of the s_i, which take
the truth, stand their estimates without a reference (Everink, Tamo and Pereyra 2025, https://arxiv.org/abs/2502.05127;
of counts https://arxiv.org/abs/2502.19194).

An estimate scatters about its s_i, so that their quantiles lie too far out. The scatter is known here, and they are
drawn together about their mean until their variance is what that of the s_i must be (ours); but to no less than LEAST
of it. For an estimate does not follow the part of s_i that the noise of y_i moves: where the s_i differ by little else,
the variance to be taken off is less than that of the scatter, by an amount that is not seen. What is the same in all,
as the error of common noise parameters, is added to each.

A probability learned from n images is that over all sets of n. Of the one at hand it is off by

    (p (1 - p) / (n + 2))^1/2 / q,      q^2: the share of the estimates' variance that is the errors'

(the first is the Beta law's deviation, Vovk 2012, https://arxiv.org/abs/1209.2673; q ours), which is told. Simulated,
24, 48 and 100 lognormal errors, 100 sets each: p +- 1.96 of these held the probability 91 to 100 times of 100 where
estimates scatter by 0 to 2 times as much, and 85 to 100 times by 4 times as much, where bounds are too wide. The images
must be independent: neighbouring slices of one head are fewer than they are counted.
"""

import math
from collections.abc import Sequence

from unveil.evaluation.distortion import psnr
from unveil.evaluation.interval import Error

__all__ = ["LEVELS", "bounds", "conformal_bound", "level_error"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
LEAST, KNOWN = 0.5, 0.1
"""Of the variance of the estimates: what is left of it at least; and what is taken for the errors' at least."""


def conformal_bound(errors: Sequence[Error], level: float) -> float | None:
    """Return what the mean square error of the next image is below with probability `level`, in squared units of y.

    errors: of images like it, that the network did not learn from. Between s_k and s_k+1 it is interpolated. None where
    they are too few: n / (n + 1) must be at least `level`.
    """
    n = len(errors)
    rank = level * (n + 1)
    if not n or rank > n:
        return None
    mean, shrink = sum(one.error for one in errors) / n, _shrink(errors, LEAST)
    scores = [mean + shrink * (one.error - mean) for one in sorted(errors)]
    below = max(math.floor(rank), 1)
    share = max(rank - below, 0.0)
    bound = scores[below - 1] if below == n else (1 - share) * scores[below - 1] + share * scores[below]
    return max(bound, 0.0) + max(one.shared for one in errors)


def level_error(errors: Sequence[Error], level: float, groups: int | None = None) -> float:
    """Return by how much the probability of a bound learned from these is off `level`, a standard error.

    groups: how many independent ones they are at least: the volumes that they are slices of; None: as many as they are.
    """
    n = len(errors) if groups is None else groups
    return math.sqrt(level * (1 - level) / (n + 2)) / _shrink(errors, KNOWN)


def _shrink(errors: Sequence[Error], least: float) -> float:
    """Return the deviation of the errors over that of their estimates; of its square at least this."""
    n = len(errors)
    mean = sum(one.error for one in errors) / n
    total = sum((one.error - mean) ** 2 for one in errors) / max(n - 1, 1)
    estimated = sum(one.se**2 for one in errors) / n
    return math.sqrt(max(1 - estimated / total, least)) if total > 0 else 1.0


def bounds(errors: Sequence[Error], groups: int | None = None) -> dict[str, object] | None:
    """Return the bounds at LEVELS, as far as there are images enough; None where there are too few for any.

    groups, level_se: see `level_error`.
    """
    found = [(level, conformal_bound(errors, level)) for level in LEVELS]
    rows = [
        {"level": level, "level_se": level_error(errors, level, groups), "rmse": math.sqrt(bound), "psnr": psnr(bound)}
        for level, bound in found
        if bound is not None
    ]
    return {"images": len(errors), "bounds": rows} if rows else None
