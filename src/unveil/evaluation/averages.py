"""What means of k samples cost against the estimate: calibration in one figure, without a reference.

    E |mean of k - x|^2 = E |f(y) - x|^2 + E |mean of k - f(y)|^2        where f(y) = E[x | y]

for the posterior mean errs in a way that no function of y, and no draw given y, correlates with. The first is Stein's
estimate, and the second is seen. Of exact samples it is 1/k of the first, so that one of them costs 10 log10 2 = 3.01
dB (Blau and Michaeli 2018, https://arxiv.org/abs/1711.06077); of samples that are too sure of themselves less.

With a reference both sides are seen. Measured in benchmarks/perception.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unveil.evaluation.interval import Error

__all__ = ["Averages", "averages_of", "averages_record"]

DECIBELS = 10 / math.log(10)


@dataclass(frozen=True)
class Averages:
    """Of one image, for each k: the mean square of mean of k - f(y), and, with a reference, of mean of k - x.

    reference: |f(y) - x|^2 / m, or None.
    """

    apart: dict[int, float]
    errors: dict[int, float]
    reference: float | None


def averages_of(samples: Tensor, x_hat: Tensor, x: Tensor | None) -> Averages:
    """Return it of samples (S, *image), the estimate and the reference (*image): k = 1, 2, 4, ... up to S.

    In the mean over disjoint groups of k.
    """
    means = {
        2**i: samples[: len(samples) // 2**i * 2**i].unflatten(0, (-1, 2**i)).mean(1)
        for i in range(len(samples).bit_length())
    }
    return Averages(
        {k: float((mean - x_hat).square().mean()) for k, mean in means.items()},
        {} if x is None else {k: float((mean - x).square().mean()) for k, mean in means.items()},
        None if x is None else float((x_hat - x).square().mean()),
    )


def averages_record(seen: Sequence[Averages], errors: Sequence[Error]) -> dict[str, Any] | None:
    """Return what means of k cost, dB, for JSON; None without images, or where the mean error is not positive.

    errors: of each without a reference. cost: without the reference, with its standard error, which is that of the
    error; cost_reference: with it, where all have one. exact: of exact samples.
    """
    n, error = len(seen), sum(one.error for one in errors)
    if not n or not error > 0:
        return None
    share = math.hypot(math.sqrt(sum(one.se**2 for one in errors)), sum(one.shared for one in errors)) / error
    ks = sorted(set.intersection(*(set(one.apart) for one in seen)))
    ratios = [sum(one.apart[k] for one in seen) / error for k in ks]
    base = [one.reference for one in seen if one.reference is not None]
    true = None
    if len(base) == n and sum(base) > 0:
        true = [DECIBELS * math.log(sum(one.errors[k] for one in seen) / sum(base)) for k in ks]
    return {
        "k": ks,
        "exact": [DECIBELS * math.log1p(1 / k) for k in ks],
        "cost": [DECIBELS * math.log1p(r) for r in ratios],
        "cost_se": [DECIBELS * r / (1 + r) * share for r in ratios],
        "cost_reference": true,
        "images": n,
    }
