"""The contract of a symmetry: a group of actions T_g under which signals are as likely as before, T_g x ~ x.

Learning from y = A x + n alone is possible only where some symmetry moves what A sees (see `unveil.identifiability`).
The smallest implementation, and the template for a new one, is `unveil.symmetry.flip.Flip`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Symmetry", "element_dtype"]


class Symmetry(ABC):
    """T_g on images x (B, C, H, W), linear in x unless `linear` is False (the amplitude's offset is affine).

    Elements g are rows of k real numbers, in the precision of x but single at least: half of it cannot count to 2049.

    numbers:      k; None where it depends on the number of pixels.
    orthogonal:   T_g^T T_g = I, to rounding.
    interpolates: T_g samples between the pixels, and so is right only for images that vanish outside the circle
                  inscribed in the image, and whose spectrum vanishes outside the circle inscribed in the Fourier plane.
    """

    linear: bool = True
    numbers: int | None = 1
    orthogonal: bool = True
    interpolates: bool = False

    @abstractmethod
    def order(self, image_shape: tuple[int, ...]) -> float:
        """Return |G|, the number of different actions on images of shape (C, H, W); math.inf for a continuous group."""

    @abstractmethod
    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw g (B, k): one element for each sample of x (B, C, H, W), uniform on the group."""

    @abstractmethod
    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        """Return T_g x (B, C, H, W) of x (B, C, H, W) and g (B, k), sample by sample, differentiable in x."""

    def elements(self, image_shape: tuple[int, ...]) -> Tensor | None:
        """Return every element (|G|, k) once, in double precision; None where there are too many, or a continuum."""
        return None

    def noise_factor(self, g: Tensor) -> Tensor:
        """Return the factor (B,) by which T_g changes the level of white noise in x; 1 where T_g is orthogonal."""
        return torch.ones(g.shape[0], dtype=g.dtype, device=g.device)

    def transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return T_g x (B, C, H, W) of random g, one for each sample."""
        return self.apply(x, self.draw(x, generator))

    def linear_part(self, x: Tensor, g: Tensor) -> Tensor:
        """Return T_g x (B, C, H, W), less what T_g makes of zero where it is affine."""
        return self.apply(x, g) if self.linear else self.apply(x, g) - self.apply(torch.zeros_like(x), g)

    def adjoint(self, v: Tensor, g: Tensor) -> Tensor:
        """Return T_g^T v (B, C, H, W) of v (B, C, H, W), T_g its linear part.

        By automatic differentiation; differentiable in v.
        """
        learning = torch.is_grad_enabled() and v.requires_grad
        with torch.enable_grad():
            x = torch.zeros_like(v, requires_grad=True)
            (back,) = torch.autograd.grad(self.apply(x, g), x, v, create_graph=learning)
        return back

    def cover(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return elements (K, k) whose mean stands for that over the group: all where |G| <= count, else `count` draws.

        x (B, C, H, W): of the images' shape, dtype and device.
        """
        shape = tuple(x.shape[1:])
        elements = self.elements(shape) if self.order(shape) <= count else None
        if elements is None:
            return self.draw(x[:1].expand(count, *shape), generator)
        return elements.to(x.device, element_dtype(x))


def element_dtype(x: Tensor) -> torch.dtype:
    """Return the precision of the elements that act on x: its own, and float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)
