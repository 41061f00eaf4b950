"""Normalization equivariance by wrapping: f_{a s}(a y + mu 1) = a f_s(y) + mu 1 for every a > 0 and mu, exactly.

    f(y, s) = m + v h((y - m) / v, s / v)

with m and v any statistics of y that follow it, m(a y + mu) = a m + mu and v(a y + mu) = a v (the if-and-only-if form
of Saied and Fleuret 2026; Herbreteau et al. 2023, https://arxiv.org/abs/2306.05037, build it into the layers). A
network trained at one level is then right at every level that a rescaled signal of the same family would have.
"""

import torch
from torch import Tensor, nn

from unveil.estimators.precondition import signal_statistics
from unveil.measurement import Measurement
from unveil.shapes import expand

__all__ = ["NormalizationEquivariant"]


class NormalizationEquivariant(nn.Module):
    """f(m) -> x_hat, exactly equivariant, around any estimator h(m) of images of mean 0 and deviation 1; for A = I.

    denoiser: h, e.g. `Preconditioned(backbone, mean=0, std=1)`.
    floor:    lower bound of v as a multiple of sigma, so that a flat image does not divide by nothing.
    """

    def __init__(self, denoiser: nn.Module, floor: float = 0.3) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.floor = floor

    def forward(self, m: Measurement) -> Tensor:
        """Return x_hat (B, C, H, W) of the measurement m."""
        mean, v = signal_statistics(m, self.floor)
        centred = m.scaled(torch.ones_like(v), -mean)  # first: of bright images y / v - mean / v has fewer digits
        normalized: Tensor = self.denoiser(centred.scaled(1 / v, torch.zeros_like(v)))
        return expand(mean, normalized) + expand(v, normalized) * normalized
