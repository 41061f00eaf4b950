"""Additive white Gaussian noise: y = u + sigma w, w ~ N(0, I).

    y_t = u + sigma t^(-1/2) w,     from y:  y_t = y + sigma (1 / t - 1)^(1/2) w,  w fresh

y_t and y_rest = y - sigma (t / (1 - t))^(1/2) w are independent given u, for their noises have the covariance
sigma^2 (1 - (1 / t - 1)^(1/2) (t / (1 - t))^(1/2)) = 0. With a^2 = 1 / t - 1 these are the two views of recorruption
(Pang et al. 2021, https://doi.org/10.1109/CVPR46437.2021.00208).
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from unveil.noise.base import Mean, Noise
from unveil.random import normal
from unveil.shapes import expand, per_sample, times

__all__ = ["Gaussian"]


@dataclass(frozen=True, eq=False)
class Gaussian(Noise):
    """N(0, sigma^2) on every measured entry of y. Complex data are two real channels, each of deviation sigma.

    sigma: the standard deviation in the units of y, a number or one per sample (B,).
    Raises UnveilError unless every sigma is finite and > 0.
    """

    sigma: float | Tensor
    additive = True
    unknown = MappingProxyType({"sigma": ()})

    def __post_init__(self) -> None:
        self._positive("sigma", "the noise's standard deviation")

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        return u + self._level(u) * normal(u, generator)

    def exposed(self, t: float | Tensor) -> "Gaussian":
        return self.scaled(torch.as_tensor(t) ** -0.5)

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        return y + self._level(y) * expand(per_sample(1 / t - 1, y, "t").clamp_min(0).sqrt(), y) * normal(y, generator)

    def scaled(self, a: float | Tensor) -> "Gaussian":
        return Gaussian(times(self.sigma, a))

    def variance(self, u: Tensor) -> Tensor:
        return (self._level(u) ** 2).expand_as(u)

    @property
    def fixed_level(self) -> float | None:
        sigma = torch.as_tensor(self.sigma)
        return float(sigma) if sigma.numel() == 1 else None

    def level(self, y: Tensor, mean: Mean) -> Tensor:
        return per_sample(self.sigma, y)

    def _level(self, y: Tensor) -> Tensor:
        return expand(per_sample(self.sigma, y), y)
