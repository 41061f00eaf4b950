"""Turns by multiples of 90 degrees, counter-clockwise: exact, for square images."""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Quarter", "turn"]


class Quarter(Symmetry):
    """The four quarter turns of square images. g = (turns,): 0, 1, 2 or 3 quarters, counter-clockwise as displayed.

    Raises UnveilError for images that are not square.
    """

    def order(self, image_shape: tuple[int, ...]) -> float:
        return 4

    def elements(self, image_shape: tuple[int, ...]) -> Tensor:
        return torch.arange(4, dtype=torch.float64)[:, None]

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 4, (len(x), 1), generator=generator, device=x.device).to(element_dtype(x))

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        if x.shape[-2] != x.shape[-1]:
            raise UnveilError(
                f"quarter turns need square images, and these are {x.shape[-2]}x{x.shape[-1]} pixels: crop them, or "
                "use flip"
            )
        return turn(x, g[:, 0])


def turn(x: Tensor, quarters: Tensor) -> Tensor:
    """Turn x (B, C, H, W) by `quarters` (B,) of 90 degrees, counter-clockwise; even numbers only unless H = W."""
    quarters = quarters.round().long()[:, None, None, None] % 4
    x = torch.where(quarters >= 2, x.flip(-2, -1), x)
    return torch.where(quarters % 2 == 1, x.rot90(1, (-2, -1)), x) if x.shape[-2] == x.shape[-1] else x
