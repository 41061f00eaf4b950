"""The oracle: |A (f(y) - x)|^2 / m with the true x. For tests and benchmarks; nobody's instrument measures x."""

import torch
from torch import Tensor

from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement

__all__ = ["Supervised"]


class Supervised(Loss):
    """The supervised loss itself, for the batch whose signals are x (B, *image). One pass."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return m.mean_square(m.predict(f(m) - self.x))
