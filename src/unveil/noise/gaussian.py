"""Additive white Gaussian noise: y = u + sigma w, w ~ N(0, I).

    y_t = u + sigma t^(-1/2) w,     from y:  y_t = y + sigma (1 / t - 1)^(1/2) w,  w fresh

y_t and y_rest = y - sigma (t / (1 - t))^(1/2) w are independent given u, for their noises have the covariance
sigma^2 (1 - (1 / t - 1)^(1/2) (t / (1 - t))^(1/2)) = 0. With a^2 = 1 / t - 1 these are the two views of recorruption
(Pang et al. 2021, https://doi.org/10.1109/CVPR46437.2021.00208).

sigma may differ from pixel to pixel, as where exposures overlap or a detector is read out unevenly: all of this holds
by entry, Stein's identity is E[(y_i - u_i) h_i(y)] = sigma_i^2 E[dh_i / dy_i], and each entry's probe is a part of its
own deviation. A mean over k x k pixels has the variance mean(sigma^2) / k^2.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.noise.base import Mean, Noise
from unveil.random import normal, signs
from unveil.shapes import expand, per_entry, per_sample, times

__all__ = ["Gaussian"]


@dataclass(frozen=True, eq=False)
class Gaussian(Noise):
    """N(0, sigma^2) on every measured entry of y. Complex data are two real channels, each of deviation sigma.

    sigma: the standard deviation in the units of y, a number, one per sample (B,), or a map of the pixels: (H, W),
        (C, H, W), (1, C, H, W), or (B, C, H, W).
    Raises UnveilError unless every sigma is finite and > 0.
    """

    sigma: float | Tensor
    additive = True
    unknown = MappingProxyType({"sigma": ()})
    maps = True

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

    def coarser(self, k: int | Tensor) -> "Gaussian":
        """Return the noise of means over k x k pixels; of a map, of one k for all samples."""
        if not self.mapped:
            return self.exposed(k**2)
        return Gaussian(avg_pool2d(torch.as_tensor(self.sigma) ** 2, int(k)).sqrt() / int(k))

    def variance(self, u: Tensor) -> Tensor:
        return (self._level(u) ** 2).expand_as(u)

    @property
    def fixed_level(self) -> float | None:
        sigma = torch.as_tensor(self.sigma)
        return float(sigma) if sigma.numel() == 1 else None

    def level(self, y: Tensor, mean: Mean) -> Tensor:
        return super().level(y, mean) if self.mapped else per_sample(self.sigma, y)

    def _straight(self, y: Tensor, mean: Mean, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if not self.mapped:
            return super()._straight(y, mean, step, generator)
        e = step * self._level(y) * signs(y, generator)
        return e, e / step**2

    def _level(self, y: Tensor) -> Tensor:
        return per_entry(self.sigma, y, "sigma")
