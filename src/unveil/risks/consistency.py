"""Naive measurement consistency |y - A f(y)|^2 / m: a baseline that must fail.

Its mean is the supervised risk + sigma^2 - 2 sigma^2 div f / m: it rewards divergence, and its minimiser is the
identity, which keeps all the noise.
"""

import torch
from torch import Tensor

from unveil.risks.base import Estimator, Risk

__all__ = ["MeasurementConsistency"]


class MeasurementConsistency(Risk):
    """|y - A f(y)|^2 / m. One pass. Not an estimate of the supervised risk: kept to be compared with."""

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        return self.mean_square(self.problem.project(y) - self.problem.predict(f(y, sigma)))
