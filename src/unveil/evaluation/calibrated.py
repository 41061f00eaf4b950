"""A verdict on samples from what they predicted (`unveil.evaluation.views`), of all images together.

Neighbouring entries err alike. So all is counted by blocks, which are nearly independent of one another, and standard
errors are from the scatter over blocks. That the histogram of ranks is flat is tested by Hotelling's T^2 of the blocks'
histograms (Hotelling 1931, https://doi.org/10.1214/aoms/1177732979).

Ratios of variances are sums over sums: those of entries have no mean.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.views import Predicted

__all__ = ["calibration_record"]

BINS = 10
BLOCK = 16
"""Pixels, the side of a block; 8 of images under 64 pixels."""
GROUPS = 5
"""Of entries, by brightness."""
FEWEST = 8
"""Blocks, below which no standard error is told."""
UNSURE = 0.05
"""The standard error of the ratio above which samples that seem right are not called so: 15% would not be seen."""
OFF, BEYOND, UNLIKELY = 0.05, 3.0, 1e-3
"""By how much the ratio may be off, in itself and in standard errors, and how unlikely ranks may be."""


def calibration_record(seen: Sequence[Predicted], names: Sequence[str], exposure: float) -> dict[str, Any] | None:
    """Return what is known of the samples of images, for JSON; None where there are no images.

    exposure: the share of it that was sampled.
    """
    if not seen:
        return None
    coverage, histogram = (_differences(seen, counted) for counted in (_inside, _binned))
    ratio, se = _ratio(_blocks(seen, "spread"), _blocks(seen, "square"))
    p_value = _flat(histogram[2])
    return {
        "exposure": exposure,
        "images": list(names),
        "samples": len(seen[0].rank),
        "levels": list(LEVELS),
        "coverage": [level + float(d) for level, d in zip(LEVELS, coverage[0])],
        "coverage_se": coverage[1].tolist(),
        "histogram": [1 / BINS + float(d) for d in histogram[0]],
        "histogram_se": histogram[1].tolist(),
        "p_value": p_value,
        "spread_over_error": ratio,
        "spread_over_error_se": se,
        "by_brightness": _by_brightness(seen),
        **_verdict(ratio, se, p_value),
    }


def _verdict(ratio: float, se: float, p_value: float) -> dict[str, str]:
    if not math.isfinite(se):
        return {"verdict": "cannot be told", "reason": "the error of few or small images is not known well enough"}
    reason = f"the variance of samples is {ratio:.2f} +- {se:.2f} of the squared error"
    if abs(ratio - 1) > max(OFF, BEYOND * se):
        return {"verdict": "too sure" if ratio < 1 else "too unsure", "reason": reason}
    if p_value < UNLIKELY:
        return {"verdict": "not calibrated", "reason": "the ranks of what was measured among samples are not even"}
    if not se < UNSURE:
        return {"verdict": "cannot be told", "reason": f"{reason}; sample more images, or larger ones"}
    return {"verdict": "calibrated", "reason": ""}


def _inside(rank: Tensor) -> Tensor:
    """Return the share of ranks (K, ...) that are in the middle LEVELS (4, ...)."""
    return torch.stack([((rank - 0.5).abs() <= level / 2).double().mean(0) for level in LEVELS])


def _binned(rank: Tensor) -> Tensor:
    """Return the share of ranks (K, ...) that are in each bin (BINS, ...)."""
    return torch.stack([((rank * BINS).long().clamp_max(BINS - 1) == k).double().mean(0) for k in range(BINS)])


def _differences(seen: Sequence[Predicted], counted: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return by how much the truth's shares are above what is expected (k,), the standard errors, and by block."""
    parts, known = [], []
    for one in seen:
        mask = _mask(one)
        parts.append(torch.stack([_cut(d * mask).sum(1) for d in counted(one.rank) - counted(one.expected)]))
        known.append(_cut(mask).sum(1))
    sums, counts = torch.cat(parts, 1), torch.cat(known)
    mean = sums.sum(1) / counts.sum()
    left = (sums - mean[:, None] * counts) / counts.mean()
    n = len(counts)
    se = left.std(1) / math.sqrt(n) if n >= FEWEST else torch.full_like(mean, math.nan)
    return mean, se, (left + mean[:, None]).T


def _mask(one: Predicted) -> Tensor:
    return torch.ones_like(one.spread).double() if one.measured is None else one.measured.double()


def _blocks(seen: Sequence[Predicted], name: str) -> Tensor:
    """Return the sums (N,) over the blocks of all."""
    return torch.cat([_cut(getattr(one, name).double() * _mask(one)).sum(1) for one in seen])


def _cut(value: Tensor) -> Tensor:
    """Return the entries (C, H, W) by block of all channels; of other measurements by stretches of the same size."""
    side = BLOCK if min(value.shape[-2:]) >= 4 * BLOCK else BLOCK // 2
    if value.ndim != 3 or min(value.shape[1:]) < side:
        flat = value.flatten()
        size = min(BLOCK**2, len(flat))
        return flat[: len(flat) // size * size].reshape(-1, size)
    c, h, w = value.shape
    whole = value[:, : h // side * side, : w // side * side]
    return whole.reshape(c, h // side, side, w // side, side).permute(1, 3, 0, 2, 4).reshape(-1, c * side * side)


def _ratio(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Return the ratio of the sums of blocks (N,) and its standard error; nan where it cannot be told."""
    if not float(b.sum()) > 0:
        return math.nan, math.nan
    ratio = float(a.sum() / b.sum())
    se = float((a - ratio * b).square().sum().sqrt() / b.sum())
    return ratio, se if len(a) >= FEWEST else math.nan


def _flat(differences: Tensor) -> float:
    """Return how likely blocks' differences (N, BINS) of mean 0 are as far from it as these; nan of few blocks."""
    from scipy.special import fdtrc  # scipy comes with scikit-image

    n, k = len(differences), BINS - 1
    if n < 4 * k:
        return math.nan
    d = differences[:, :k]
    covariance = torch.cov(d.T) + 1e-12 * torch.eye(k, dtype=d.dtype)
    t2 = n * d.mean(0) @ torch.linalg.solve(covariance, d.mean(0))
    return float(fdtrc(k, n - k, float(t2) * (n - k) / (k * (n - 1))))


def _by_brightness(seen: Sequence[Predicted]) -> list[dict[str, float]]:
    """Return the spread and the error of entries, both in the units of y, from dark to bright."""
    means = [_cut(_smooth(one.brightness)) for one in seen]
    kept = [_cut(_mask(one)) for one in seen]
    all_of_it = torch.cat([mean[mask > 0] for mean, mask in zip(means, kept)])
    edges = torch.quantile(
        all_of_it[:: max(1, len(all_of_it) // 10**6)], torch.linspace(0, 1, GROUPS + 1).to(all_of_it)
    )
    rows = []
    for low, high in pairwise(edges):
        over, under, level, count = [], [], 0.0, 0.0
        for one, mean, mask in zip(seen, means, kept):
            which = mask * ((mean >= low) & (mean <= high))
            over.append((_cut(one.spread.double()) * which).sum(1))
            under.append((_cut(one.square.double()) * which).sum(1))
            level, count = level + float((mean * which).sum()), count + float(which.sum())
        ratio, se = _ratio(torch.cat(over), torch.cat(under))
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
