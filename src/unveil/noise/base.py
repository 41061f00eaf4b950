"""The contract of a noise family: y ~ p(y | u), u = A x the noiseless measurement, E[y | u] = u."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Noise"]


class Noise(ABC):
    """One family of noise at a known level. All draws come from the generator that is passed."""

    @abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """A measurement y (B, ...) of the noiseless measurement u = `clean` (B, ...)."""

    @abstractmethod
    def level(self, y: Tensor) -> Tensor:
        """The level sigma (B,) of each sample of y (B, ...), in the units of y."""

    @abstractmethod
    def scaled(self, a: float | Tensor) -> "Noise":
        """The noise of a y, for a > 0: a number or one per sample (B,)."""

    @abstractmethod
    def recorrupt(self, y: Tensor, a: float | Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two views (y_1, y_2) of y, independent given u and each of mean u; y_1 is the noisier input for larger a."""
