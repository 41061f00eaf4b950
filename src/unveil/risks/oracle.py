"""The supervised step of the benchmarks: fresh noise on clean images, at every level.

Ambient Tweedie at s_b = 0: alpha = 1, and the target is the clean image itself.
"""

import torch
from torch import Tensor

from unveil.random import normal
from unveil.risks.base import Estimator, Law, Risk
from unveil.risks.laws import LogUniform

__all__ = ["Oracle"]


class Oracle(Risk):
    """|f(x + s w, s) - x|^2 / m / s^2 of the clean batch y = x, s drawn per sample from `level`. One pass."""

    def __init__(self, level: Law | None = None) -> None:
        super().__init__()
        self.level = level or LogUniform(0.01, 0.3)

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        s = self.level(sigma, generator)
        return self.mean_square(f(self.corrupt(y, s, normal(y, generator)), s) - y) / s**2
