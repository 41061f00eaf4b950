"""Mirror images: along the height, the width, or both."""

import torch
from torch import Tensor

from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Flip"]


class Flip(Symmetry):
    """The four reflections of images along their two axes. g = (down, across), each 0 or 1."""

    numbers = 2

    def order(self, image_shape: tuple[int, ...]) -> float:
        return 4

    def elements(self, image_shape: tuple[int, ...]) -> Tensor:
        return torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, (len(x), 2), generator=generator, device=x.device).to(element_dtype(x))

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        down, across = (column[:, None, None, None] > 0.5 for column in g.unbind(1))
        x = torch.where(down, x.flip(-2), x)
        return torch.where(across, x.flip(-1), x)
