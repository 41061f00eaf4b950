"""Stein's unbiased risk estimate for Gaussian noise (Stein 1981, https://doi.org/10.1214/aos/1176345632).

    |y - A f(y)|^2 / m + 2 sigma^2 div(A f)(y) / m - sigma^2

has the mean of |A (f(y) - x)|^2 / m over the noise, because E[n^T h(y)] = sigma^2 E[div h(y)].
"""

import torch
from torch import Tensor

from unveil.problem import DENOISING, Problem
from unveil.risks.base import Estimator, Risk
from unveil.risks.divergence import Divergence, MonteCarloDivergence

__all__ = ["SURE"]


class SURE(Risk):
    """Stein's estimate, with the divergence by Monte Carlo (2 passes, 1 + part for a part of the batch) or exact."""

    def __init__(self, divergence: Divergence | None = None, problem: Problem = DENOISING) -> None:
        super().__init__(problem)
        self.divergence = divergence or MonteCarloDivergence()
        self.passes = 1 + self.divergence.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        y_hat, divergence = self.divergence(f, y, sigma, self.problem, generator)
        return self.mean_square(self.problem.project(y) - y_hat) + 2 * sigma**2 * divergence - sigma**2
