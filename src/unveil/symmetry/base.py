"""The contract of a symmetry: a group of actions T_g under which signals are as likely as before, T_g x ~ x.

Learning from y = A x + n alone is possible only where some symmetry moves what A sees (see `unveil.identify`). The
smallest implementation, and the template for a new one, is `unveil.symmetry.flip.Flip`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Symmetry"]


class Symmetry(ABC):
    """T_g on images x (B, C, H, W), linear in x unless `linear` is False (the amplitude's offset is affine).

    order: |G|, the number of different actions on images of this size; math.inf for a continuous group.
    """

    linear: bool = True

    @abstractmethod
    def order(self, image_shape: tuple[int, ...]) -> float:
        """|G| for images of shape (C, H, W)."""

    @abstractmethod
    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """g (B, k): one element for each sample of x (B, C, H, W), uniform on the group, k real numbers an element."""

    @abstractmethod
    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        """T_g x (B, C, H, W), sample by sample, differentiable in x."""

    def noise_factor(self, g: Tensor) -> Tensor:
        """(B,): white noise of level sigma in x has level factor * sigma in T_g x; 1 where T_g is orthogonal."""
        return torch.ones(g.shape[0], dtype=g.dtype, device=g.device)

    def transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """T_g x (B, C, H, W) of random g, one for each sample."""
        return self.apply(x, self.draw(x, generator))
