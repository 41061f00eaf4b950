"""Counted photons: y = gain k, k ~ Poisson(u / gain), so that E[y | u] = u and var(y | u) = gain u.

    y_t = (gain / t) Poisson(t u / gain),     from y:  y_t = (gain / t) Binomial(y / gain, t)

Thinning gives two independent counts (Kingman 1993, Poisson Processes, ch. 5; as two views for learning: Monroy, Bacca
and Tachella 2025, https://arxiv.org/abs/2412.04648). Hudson's identity (1978, https://doi.org/10.1214/aos/1176344306),

    E[(y_i - u_i) h_i(y)] = E[y_i (h_i(y) - h_i(y - gain e_i))]  =  E[gain y_i h_i' - gain^2 y_i h_i'' / 2 + ...]

is what `stein` takes, by a skewed probe (`unveil.noise.skewed`) of length d = -gain: few entries lose a photon, the
others gain a little. Its third order is right too, but for the share r of gain y_i^2.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from unveil.noise.base import Mean, Noise
from unveil.noise.skewed import SHARE, skewed_probe
from unveil.random import binomial, poisson
from unveil.shapes import expand, per_sample, times

__all__ = ["Poisson"]


@dataclass(frozen=True, eq=False)
class Poisson(Noise):
    """Poisson counts times a gain, on every measured entry of y, which is a multiple of the gain and not negative.

    gain: what one photon adds to y, in the units of y, a number or one per sample (B,).
    Raises UnveilError unless every gain is finite and > 0.
    """

    gain: float | Tensor
    unknown = MappingProxyType({"gain": ()})

    def __post_init__(self) -> None:
        self._positive("gain", "what one photon adds to a measurement")

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        gain = self._gain(u)
        return gain * poisson(u.clamp_min(0) / gain, generator)

    def exposed(self, t: float | Tensor) -> "Poisson":
        return self.scaled(1 / torch.as_tensor(t))

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        gain = self._gain(y)
        share = expand(per_sample(t, y, "t"), y).clamp(0, 1)
        return gain / share * binomial(_counts(y / gain, generator), share, generator)

    def scaled(self, a: float | Tensor) -> "Poisson":
        return Poisson(times(self.gain, a))

    def variance(self, u: Tensor) -> Tensor:
        return self._gain(u) * u.clamp_min(0)

    @property
    def step(self) -> Tensor:
        return torch.as_tensor(self.gain)

    def level(self, y: Tensor, mean: Mean) -> Tensor:
        """Return sigma (B,), the root of the mean variance; of an image without a photon as if it had one.

        For nothing is seen without noise, and a weight 1 / sigma^2 must not be infinite.
        """
        one = per_sample(self.gain, y, "gain") ** 2 / y[0].numel()
        return torch.maximum(mean(self.estimated_variance(y)), one).sqrt()

    def probe(self, y: Tensor, mean: Mean, generator: torch.Generator, most: float = math.inf) -> tuple[Tensor, Tensor]:
        return skewed_probe(self.estimated_variance(y), -self._gain(y).expand_as(y), generator, share=min(SHARE, most))

    def _gain(self, y: Tensor) -> Tensor:
        return expand(per_sample(self.gain, y, "gain"), y)


def _counts(k: Tensor, generator: torch.Generator) -> Tensor:
    """Draw whole numbers >= 0 whose mean is k: of a k between two of them either, so that no mean is lost."""
    u = torch.rand(k.shape, generator=generator, dtype=k.dtype, device=k.device)
    near = k.round()
    return torch.where((k - near).abs() < 1e-3, near, (k + u).floor()).clamp_min(0)
