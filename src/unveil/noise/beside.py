"""The noise of two instruments whose measurements lie in one vector, each with its own.

The operator that goes with it is in `unveil.operators.beside`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.noise.base import Noise

__all__ = ["Beside"]


@dataclass(frozen=True, eq=False)
class Beside(Noise):
    """`first` on the first `entries` of y (B, M + n), `second` on the others."""

    first: Noise
    second: Noise
    entries: int

    @property
    def apart(self) -> Noise:
        return self.first

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        a, b = self._parts(u)
        return torch.cat([self.first.sample(a, generator), self.second.sample(b, generator)], 1)

    def exposed(self, t: float | Tensor) -> "Beside":
        return Beside(self.first.exposed(t), self.second.exposed(t), self.entries)

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        a, b = self._parts(y)
        return torch.cat([self.first.noisier(a, t, generator), self.second.noisier(b, t, generator)], 1)

    def scaled(self, a: float | Tensor) -> "Beside":
        return Beside(self.first.scaled(a), self.second.scaled(a), self.entries)

    def variance(self, u: Tensor) -> Tensor:
        a, b = self._parts(u)
        return torch.cat([self.first.variance(a), self.second.variance(b)], 1)

    def estimated_variance(self, y: Tensor) -> Tensor:
        a, b = self._parts(y)
        return torch.cat([self.first.estimated_variance(a), self.second.estimated_variance(b)], 1)

    def select(self, which: Tensor) -> "Beside":
        return Beside(self.first.select(which), self.second.select(which), self.entries)

    def to(self, device: torch.device | str) -> "Beside":
        return Beside(self.first.to(device), self.second.to(device), self.entries)

    def _parts(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y[:, : self.entries], y[:, self.entries :]
