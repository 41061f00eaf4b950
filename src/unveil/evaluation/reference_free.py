"""The error of an estimate without a reference: Stein's estimate on one measurement.

|y - f(y)|^2 / m + 2 sigma^2 div f(y) / m - sigma^2 has the mean of |f(y) - x|^2 / m over the noise. On one image of m
pixels its deviation from the error itself is about sigma^2 sqrt(2 / m): a large image needs no averaging.
"""

import torch
from torch import Tensor, nn

from unveil.risks import SURE
from unveil.shapes import per_sample

__all__ = ["estimate_error"]


@torch.no_grad()
def estimate_error(
    f: nn.Module, y: Tensor, sigma: float | Tensor, generator: torch.Generator, probes: int = 4
) -> Tensor:
    """An unbiased estimate of |f(y) - x|^2 / m (B,), the mean over `probes` probes of the divergence.

    y: measurements (B, C, H, W). sigma: their noise level, a number or (B,). It may be negative where the error is
    small against the noise of the estimate.
    """
    risk, level = SURE(), per_sample(sigma, y)
    return torch.stack([risk(f, y, level, generator) for _ in range(probes)]).mean(0)
