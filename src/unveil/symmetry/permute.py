"""Permutations of the pixels: signals whose entries are exchangeable, such as independent ones without an order.

(T_g x)_i = x_g(i), all channels of a pixel together. No photograph is like that: of natural images this symmetry keeps
the histogram and nothing else.
"""

import math

import torch
from torch import Tensor

from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Permute"]


class Permute(Symmetry):
    """The (H W)! permutations of pixels.

    g = (g(0), ..., g(H W - 1)): where entry i, in row-major order, is taken from.
    """

    numbers = None

    def order(self, image_shape: tuple[int, ...]) -> float:
        pixels = image_shape[-2] * image_shape[-1]
        return float(math.factorial(pixels)) if pixels <= 170 else math.inf  # 171! is no double

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        keys = torch.rand(len(x), x[0, 0].numel(), generator=generator, dtype=torch.float64, device=x.device)
        return keys.argsort(1).to(element_dtype(x))

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        x_flat = x.flatten(2)
        return x_flat.gather(2, g.round().long()[:, None].expand_as(x_flat)).reshape(x.shape)
