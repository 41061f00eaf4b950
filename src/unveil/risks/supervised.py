"""The oracle: |A (f(y) - x)|^2 / m with the true x. For tests and benchmarks; nobody's instrument measures x."""

import torch
from torch import Tensor

from unveil.problem import DENOISING, Problem
from unveil.risks.base import Estimator, Risk

__all__ = ["Supervised"]


class Supervised(Risk):
    """The supervised risk itself, for the batch whose signals are x (B, *image). One pass."""

    def __init__(self, x: Tensor, problem: Problem = DENOISING) -> None:
        super().__init__(problem)
        self.x = x

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        return self.mean_square(self.problem.predict(f(y, sigma) - self.x))
