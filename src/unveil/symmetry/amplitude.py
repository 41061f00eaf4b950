"""Contrast and brightness: T_g x = a x + mu, a > 0.

The symmetry behind normalization equivariance (see `unveil.losses.normalize`): it moves measurements to lower noise
levels, and tells nothing of what A does not see, for it moves no part of an image elsewhere.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import uniform
from unveil.shapes import expand
from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Amplitude"]


class Amplitude(Symmetry):
    """a log-uniform in [low, 1], mu uniform in (1 - a) [offset_0, offset_1]: a x + mu stays in [0, 1] when x is there.

    g = (a, mu), mu in the units of x, the same for every channel. low: in (0, 1); offset: 0 <= offset_0 <= offset_1 <=
    1, (0, 0) for signals whose zero means something. Raises UnveilError for another law.
    """

    linear = False
    orthogonal = False
    numbers = 2

    def __init__(self, low: float = 0.05, offset: tuple[float, float] = (0.0, 1.0)) -> None:
        if not 0 < low < 1 or not 0 <= offset[0] <= offset[1] <= 1:
            raise UnveilError(
                f"the amplitude needs 0 < low < 1 and an offset within [0, 1], not low = {low}, offset = {offset}"
            )
        self.low = low
        self.offset = offset

    def order(self, image_shape: tuple[int, ...]) -> float:
        return float("inf")

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        like = torch.empty(len(x), dtype=element_dtype(x), device=x.device)
        a = self.low ** uniform(like, 0.0, 1.0, generator)
        return torch.stack([a, uniform(like, *self.offset, generator) * (1 - a)], 1)

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        a, mu = (expand(column, x).to(x.dtype) for column in g.unbind(1))
        return a * x + mu

    def noise_factor(self, g: Tensor) -> Tensor:
        return g[:, 0]
