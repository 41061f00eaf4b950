"""Recorrupted-to-recorrupted (Pang et al. 2021, https://doi.org/10.1109/CVPR46437.2021.00208).

    y_1 = y + a sigma w,   y_2 = y - sigma w / a,   w ~ N(0, I)

are independent given x, so |y_2 - A f(y_1)|^2 / m has the mean of |A (f(y_1) - x)|^2 / m plus the variance of y_2,
sigma^2 (1 + 1 / a^2), which is subtracted. No divergence, one pass; the price is the noise of y_2 (large for small a)
and an estimator trained at the level of y_1, sigma sqrt(1 + a^2), not at sigma.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise import Gaussian
from unveil.problem import DENOISING, Problem
from unveil.risks.base import Estimator, Risk

__all__ = ["R2R"]


class R2R(Risk):
    """An unbiased estimate of |A (f(y_1, sigma_1) - x)|^2 / m at the level sigma_1 = sigma sqrt(1 + a^2). One pass.

    a: the recorruption ratio, > 0.
    """

    def __init__(self, a: float = 0.5, problem: Problem = DENOISING) -> None:
        super().__init__(problem)
        if not a > 0:
            raise UnveilError(f"the recorruption ratio a must be > 0, not {a}")
        self.a = a

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        y_1, y_2 = (self.problem.project(view) for view in Gaussian(sigma).recorrupt(y, self.a, generator))
        residual = y_2 - self.problem.predict(f(y_1, sigma * (1 + self.a**2) ** 0.5))
        return self.mean_square(residual) - sigma**2 * (1 + 1 / self.a**2)
