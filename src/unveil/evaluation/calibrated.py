"""A verdict on samples from what they predicted (`unveil.evaluation.views`), of all images together.

That the histogram of ranks is flat is tested by Hotelling's T^2 of the blocks' histograms (Hotelling 1931,
https://doi.org/10.1214/aoms/1177732979), for neighbouring entries err alike.

Views are sampled at a share of the exposure. The samples that are shown are given all of it, of which nothing is left
to predict: of them Stein's estimate of the error tells (`unveil.evaluation.shown`), less, but of them. Both decide.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unveil.evaluation.by_block import FEWEST, by_brightness, cut, known, ratio_of, sums_by_block
from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.shown import Shown
from unveil.evaluation.views import Predicted

__all__ = ["calibration_record"]

BINS = 10
UNKNOWN = "cannot be told"
UNSURE = 0.05
"""The standard error of the ratio above which samples that seem right are not called so: 15% would not be seen."""
OFF, BEYOND, UNLIKELY = 0.05, 3.0, 1e-3
"""By how much the ratio may be off, in itself and in standard errors, and how unlikely ranks may be."""


def calibration_record(
    seen: Sequence[Predicted], names: Sequence[str], exposure: float, shown: Sequence[Shown] = ()
) -> dict[str, Any] | None:
    """Return what is known of the samples of images, for JSON; None where there are no images.

    exposure: the share of it that was sampled. shown: of the samples given all of it, where `seen` is of views.
    """
    if not seen:
        return None
    coverage, histogram = (_differences(seen, counted) for counted in (_inside, _binned))
    ratio, se = ratio_of(*(sums_by_block(seen, name) for name in ("spread", "square")))
    p_value = _flat(histogram[2])
    verdict = _verdict(ratio, se, p_value)
    found: dict[str, Any] = {}
    if shown:
        found, verdict = {"shown": shown_record(shown)}, _together(verdict, shown_verdict(shown))
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
        "by_brightness": by_brightness(seen),
        **found,
        **verdict._asdict(),
    }


class Verdict(NamedTuple):
    """What samples are called, and why, in one line."""

    verdict: str
    reason: str = ""


def _verdict(ratio: float, se: float, p_value: float) -> Verdict:
    if not math.isfinite(se):
        return Verdict(UNKNOWN, "the error of few or small images is not known well enough")
    reason = f"the variance of samples is {ratio:.2f} +- {se:.2f} of the squared error"
    if abs(ratio - 1) > max(OFF, BEYOND * se):
        return Verdict("too sure" if ratio < 1 else "too unsure", reason)
    if p_value < UNLIKELY:
        return Verdict("not calibrated", "the ranks of what was measured among samples are not even")
    if not se < UNSURE:
        return Verdict(UNKNOWN, f"{reason}; sample more images, or larger ones")
    return Verdict("calibrated")


def shown_record(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return spread over error of the samples given all of the exposure, for JSON."""
    ratio, se = ratio_of(*(sums_by_block(shown, name) for name in ("spread", "square")))
    return {"spread_over_error": ratio, "spread_over_error_se": se, "by_brightness": by_brightness(shown)}


def shown_verdict(shown: Sequence[Shown]) -> Verdict:
    """Return what samples given all of the exposure are called.

    Spread and error are of one mean in each block where samples are exact. So it is their difference that is tested:
    the ratio to an error that is not known well is not normal.
    """
    a, b = (sums_by_block(shown, name) for name in ("spread", "square"))
    ratio, se = ratio_of(a, b)
    if not math.isfinite(se):
        return Verdict(UNKNOWN, "given all of the exposure, the error is not known well enough")
    reason = f"given all of the exposure, the variance of samples is {ratio:.2f} +- {se:.2f} of the squared error"
    difference = a - b
    if abs(ratio - 1) > OFF and float(difference.sum().abs()) > BEYOND * float(difference.square().sum().sqrt()):
        return Verdict("too sure" if ratio < 1 else "too unsure", reason)
    return Verdict("calibrated") if se < UNSURE else Verdict(UNKNOWN, f"{reason}; sample more images, or larger ones")


def _together(view: Verdict, shown: Verdict) -> Verdict:
    """Return the verdict on samples by a view of the exposure, and by all of it; what is wrong there comes first."""
    for one in (shown, view):
        if one.verdict not in ("calibrated", UNKNOWN):
            return one
    return view if shown.verdict == "calibrated" else shown


def _inside(rank: Tensor) -> Tensor:
    """Return the share of ranks (K, ...) that are in the middle LEVELS (4, ...)."""
    return torch.stack([((rank - 0.5).abs() <= level / 2).double().mean(0) for level in LEVELS])


def _binned(rank: Tensor) -> Tensor:
    """Return the share of ranks (K, ...) that are in each bin (BINS, ...)."""
    return torch.stack([((rank * BINS).long().clamp_max(BINS - 1) == k).double().mean(0) for k in range(BINS)])


def _differences(seen: Sequence[Predicted], counted: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return by how much the truth's shares are above what is expected (k,), the standard errors, and by block."""
    parts, counts_of = [], []
    for one in seen:
        mask = known(one)
        parts.append(torch.stack([cut(d * mask).sum(1) for d in counted(one.rank) - counted(one.expected)]))
        counts_of.append(cut(mask).sum(1))
    sums, counts = torch.cat(parts, 1), torch.cat(counts_of)
    mean = sums.sum(1) / counts.sum()
    left = (sums - mean[:, None] * counts) / counts.mean()
    n = len(counts)
    se = left.std(1) / math.sqrt(n) if n >= FEWEST else torch.full_like(mean, math.nan)
    return mean, se, (left + mean[:, None]).T


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
