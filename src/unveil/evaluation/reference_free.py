"""The error of an estimate without a reference: Stein's estimate on one measurement.

|y - f(y)|^2 / m + 2 sigma^2 div f(y) / m - sigma^2 has the mean of |f(y) - x|^2 / m over the noise. On one image of m
pixels its deviation from the error itself is about sigma^2 sqrt(2 / m): a large image needs no averaging
(`unveil.evaluation.risk` tells it of each).

Through an operator it is the error of A f(y) on the measured entries; what A does not see has no part in it. Of that
only entries which are hidden from f tell: |y_2 - A_2 f(y_1)|^2 / m_2 - sigma^2, where f saw y_1 alone, has the mean of
|A_2 (f(y_1) - x)|^2 / m_2, because the noise of y_2 is independent of f(y_1).
"""

import torch
from torch import Tensor

from unveil.evaluation.risk import estimate_risk
from unveil.losses import HiddenEntries
from unveil.measurement import Estimator, Measurement

__all__ = ["estimate_error", "estimate_hidden_error"]


def estimate_error(f: Estimator, m: Measurement, generator: torch.Generator, probes: int = 8) -> Tensor:
    """Return an unbiased estimate of |A (f(y) - x)|^2 / m (B,), the mean over `probes` probes of the divergence.

    It may be negative where the error is small against the noise of the estimate, which `estimate_risk` tells too.
    """
    return estimate_risk(f, m, generator, probes).error


@torch.no_grad()
def estimate_hidden_error(f: Estimator, m: Measurement, generator: torch.Generator, draws: int = 4) -> Tensor:
    """Return an unbiased estimate (B,) of |A_2 (f(y_1) - x)|^2 / m_2 on entries hidden from f.

    They are a tenth of the measured entries, the mean over `draws` of which.
    """
    return torch.stack([HiddenEntries()(f, m, generator) for _ in range(draws)]).mean(0)
