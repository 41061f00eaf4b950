"""Naive measurement consistency |y - A f(y)|^2 / m: a baseline that must fail.

Its mean is the supervised loss + sigma^2 - 2 sigma^2 div f / m: it rewards divergence, and its minimiser is the
identity, which keeps all the noise.
"""

import torch
from torch import Tensor

from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement

__all__ = ["Consistency"]


class Consistency(Loss):
    """|y - A f(y)|^2 / m. One pass. Not an estimate of the supervised loss: kept to be compared with."""

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return m.mean_square(m.y - m.predict(f(m)))
