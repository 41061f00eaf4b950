"""Circular shifts by whole pixels: (T_g x)(r, c) = x(r - down, c - across), modulo the sides of the image.

deepinv's `Shift` draws shifts for all images together; one for each needs the lines below.
"""

import torch
from torch import Tensor

from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Shift"]


class Shift(Symmetry):
    """The H W circular shifts of images (C, H, W). g = (down, across), pixels, whole numbers of either sign."""

    numbers = 2

    def order(self, image_shape: tuple[int, ...]) -> float:
        return image_shape[-2] * image_shape[-1]

    def elements(self, image_shape: tuple[int, ...]) -> Tensor:
        down, across = (torch.arange(side, dtype=torch.float64) for side in image_shape[-2:])
        return torch.cartesian_prod(down, across)

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        drawn = [torch.randint(0, side, (len(x),), generator=generator, device=x.device) for side in x.shape[-2:]]
        return torch.stack(drawn, 1).to(element_dtype(x))

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, across = g.round().long().unbind(1)
        rows = (torch.arange(height, device=x.device) - down[:, None]) % height  # (B, H)
        columns = (torch.arange(width, device=x.device) - across[:, None]) % width
        x = x.gather(-2, rows[:, None, :, None].expand_as(x))
        return x.gather(-1, columns[:, None, None, :].expand_as(x))
