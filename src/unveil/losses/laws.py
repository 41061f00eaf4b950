"""Laws of the factors that losses draw, one value per sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import uniform

__all__ = ["LogUniform", "NormalizationLaw", "paper_law"]


@dataclass(frozen=True)
class LogUniform:
    """ln of the factor uniform between ln low and ln high, 0 < low <= high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise UnveilError(f"a log-uniform law needs 0 < low <= high, not low = {self.low}, high = {self.high}")

    def __call__(self, sigma: Tensor, generator: torch.Generator) -> Tensor:
        return uniform(sigma, math.log(self.low), math.log(self.high), generator).exp()


@dataclass(frozen=True)
class NormalizationLaw:
    """a log-uniform in [low, 1], mu uniform in (1 - a) [offset_0, offset_1]: a x + mu stays in [0, 1] when x is there.

    offset: (0, 1) is every admissible mu; (0.5, 0.5) only lowers the contrast about mid-grey; (0, 0) is mu = 0.
    Raises UnveilError unless 0 <= offset_0 <= offset_1 <= 1.
    """

    low: float = 0.05
    offset: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.offset[0] <= self.offset[1] <= 1:
            raise UnveilError(f"offset must be an interval within [0, 1], not {self.offset}")

    def __call__(self, sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        a = LogUniform(self.low, 1.0)(sigma, generator)
        return a, uniform(sigma, *self.offset, generator) * (1 - a)


def paper_law(sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a, mu ~ U(0, 1), independent: the law of Levac et al. 2026 (https://arxiv.org/abs/2510.11964).

    a is bounded below at 1e-3, a level under which no entry of the loss is finite in single precision.
    """
    return uniform(sigma, 1e-3, 1.0, generator), uniform(sigma, 0.0, 1.0, generator)
