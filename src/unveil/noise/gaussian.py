"""Additive white Gaussian noise: y = u + sigma w, w ~ N(0, I).

Recorruption (Pang et al. 2021, https://doi.org/10.1109/CVPR46437.2021.00208): with a fresh w ~ N(0, I)

    y_1 = y + a sigma w,    y_2 = y - sigma w / a

have covariance sigma^2 (1 - a / a) = 0, hence are independent given u, with variances sigma^2 (1 + a^2) and
sigma^2 (1 + 1 / a^2).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.base import Noise
from unveil.random import normal
from unveil.shapes import expand, per_sample

__all__ = ["Gaussian"]


class Gaussian(Noise):
    """N(0, sigma^2 I) on every entry of y. Complex data are two real channels, each with deviation sigma.

    sigma: the standard deviation in the units of y, a number or one per sample (B,).
    Raises UnveilError unless every sigma is finite and > 0.
    """

    def __init__(self, sigma: float | Tensor) -> None:
        self.sigma = torch.as_tensor(sigma)
        if not bool(((self.sigma > 0) & self.sigma.isfinite()).all()):
            raise UnveilError(f"sigma must be finite and > 0, not {sigma}: give the noise's standard deviation")

    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        return clean + expand(self.level(clean), clean) * normal(clean, generator)

    def level(self, y: Tensor) -> Tensor:
        return per_sample(self.sigma, y)

    def scaled(self, a: float | Tensor) -> "Gaussian":
        return Gaussian(self.sigma.to(torch.as_tensor(a).device) * a)

    def recorrupt(self, y: Tensor, a: float | Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        w = expand(self.level(y), y) * normal(y, generator)
        ratio = expand(per_sample(a, y, "a"), y)
        return y + ratio * w, y - w / ratio
