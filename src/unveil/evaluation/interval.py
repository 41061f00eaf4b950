"""Intervals of 95% for a PSNR that was estimated without a reference.

An error S with the standard error e is between S - q e and S + q e, q = 1.96, and the PSNR, -10 log10 of it, between
what these are in dB; where S - q e is not positive there is no upper end. Of a mean PSNR the standard errors are taken
to first order, 10 / ln 10 e / S. Two means are meant: that of these very images, and that of further images like them,
of which these are a sample: Student's, by the scatter over images, which holds what each is uncertain by already.
Slices of one volume are no independent images: the scatter is that of the sums over volumes (cluster-robust: Liang and
Zeger 1986, https://doi.org/10.1093/biomet/73.1.13), and so many volumes it is known by.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from unveil.evaluation.distortion import psnr
from unveil.student import student

__all__ = ["Error", "mean_psnr"]

NORMAL = 1.959964
FEWEST = 3
"""Images, below which nothing is said of others."""


class Error(NamedTuple):
    """An estimated mean square error and its standard error, signals in [0, 1]; and the part of this that images share.

    The shared part is that of noise parameters that were found in all images: it does not get less in a mean.
    """

    error: float
    se: float
    shared: float = 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Return the PSNR's interval, dB; inf is no upper end, and an error that cannot be positive has none: nan."""
        reach = NORMAL * math.hypot(self.se, self.shared)
        return psnr(self.error + reach), psnr(max(self.error - reach, 0.0)) if self.error + reach > 0 else math.nan


def mean_psnr(errors: Sequence[Error], groups: Sequence[str] | None = None) -> dict[str, float | int]:
    """Return the mean PSNR of images and its intervals, dB: low and high of these, next_low and next_high of others.

    groups: of each image what it is a slice of, or another; None: each is one by itself. nan where one of the errors is
    not positive, and of others from fewer than FEWEST groups.
    """
    n = len(errors)
    counts = {"images": n, "groups": n if groups is None else len(set(groups))}
    if not n or any(not one.error > 0 for one in errors):
        return {"psnr": math.nan, "low": math.nan, "high": math.nan, **counts} | _others(math.nan, math.nan)
    values = [psnr(one.error) for one in errors]
    decibels = 10 / math.log(10)
    mean = sum(values) / n
    own = math.sqrt(sum((one.se / one.error) ** 2 for one in errors)) / n
    reach = NORMAL * decibels * math.hypot(own, sum(one.shared / one.error for one in errors) / n)
    found: dict[str, float | int] = {"psnr": mean, "low": mean - reach, "high": mean + reach, **counts}
    if (several := counts["groups"]) < FEWEST:
        return found | _others(math.nan, math.nan)
    sums: dict[object, float] = {}
    for key, v in zip(range(n) if groups is None else groups, values):
        sums[key] = sums.get(key, 0.0) + v - mean
    scatter = math.sqrt(several / (several - 1) * sum(one**2 for one in sums.values())) / n
    common = NORMAL * decibels * sum(one.shared / one.error for one in errors) / n
    further = math.hypot(student(0.95, several - 1) * scatter, common)
    return found | _others(mean - further, mean + further)


def _others(low: float, high: float) -> dict[str, float]:
    return {"next_low": low, "next_high": high}
