"""The error of an estimate without a reference: Stein's estimate on one measurement.

|y - f(y)|^2 / m + 2 sigma^2 div f(y) / m - sigma^2 has the mean of |f(y) - x|^2 / m over the noise. On one image of m
pixels its deviation from the error itself is about sigma^2 sqrt(2 / m): a large image needs no averaging.

Through an operator it is the error of A f(y) on the measured entries; what A does not see has no part in it. Of that only
entries which are hidden from f tell: |y_2 - A_2 f(y_1)|^2 / m_2 - sigma^2, where f saw y_1 alone, has the mean of
|A_2 (f(y_1) - x)|^2 / m_2, because the noise of y_2 is independent of f(y_1).
"""

import torch
from torch import Tensor, nn

from unveil.problem import DENOISING, Problem
from unveil.risks import SURE, HiddenEntries, told
from unveil.shapes import per_sample

__all__ = ["estimate_error", "estimate_hidden_error"]


@torch.no_grad()
def estimate_error(
    f: nn.Module,
    y: Tensor,
    sigma: float | Tensor,
    generator: torch.Generator,
    probes: int = 4,
    problem: Problem = DENOISING,
) -> Tensor:
    """An unbiased estimate of |A (f(y) - x)|^2 / m (B,), the mean over `probes` probes of the divergence.

    f: f(y, sigma), or f(y, sigma, problem) where the problem has an operator. y: measurements (B, C, H, W). sigma: their noise
    level, a number or (B,). It may be negative where the error is small against the noise of the estimate.
    """
    risk, level = SURE(problem=problem), per_sample(sigma, y)
    return torch.stack([risk(told(f, problem), y, level, generator) for _ in range(probes)]).mean(0)


@torch.no_grad()
def estimate_hidden_error(
    f: nn.Module, y: Tensor, sigma: float | Tensor, problem: Problem, generator: torch.Generator
) -> Tensor:
    """An unbiased estimate (B,) of |A_2 (f(y_1) - x)|^2 / m_2 on a tenth of the measured entries, hidden from f."""
    return HiddenEntries(problem)(told(f, problem), y, per_sample(sigma, y), generator)
