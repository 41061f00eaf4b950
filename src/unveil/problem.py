"""The measurement y = A x + n, and what measurement space means.

Noise, risks and diffusion live on the measured entries of y alone; m counts those alone. A mask that merely zeroes
entries of a full-size y must therefore be declared here: an inner product that also ran over the entries never
measured would shift every risk by sigma^2 (1 - m / n).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import normal

__all__ = ["DENOISING", "Operator", "Problem"]


class Operator(Protocol):
    """What deepinv's `LinearPhysics` offers of A (https://deepinv.github.io)."""

    def A(self, x: Tensor) -> Tensor: ...

    def A_adjoint(self, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Problem:
    """y = A x + n on the measured entries.

    operator:    A, linear, image (B, *image) -> measurement (B, *measurement); None is the identity.
    measured:    boolean, broadcastable to y (B, *measurement); None when every entry is measured.
    image_shape: shape of x without its batch axis; None when A is the identity (x then has the shape of y).
    """

    operator: Operator | None = None
    measured: Tensor | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.operator is not None and self.image_shape is None:
            raise UnveilError("a problem with an operator needs image_shape, the shape of x without its batch axis")

    def project(self, y: Tensor) -> Tensor:
        """y (B, *measurement) with the entries that are not measured set to zero."""
        return y if self.measured is None else y * self.measured.to(y)

    def predict(self, x: Tensor) -> Tensor:
        """A x (B, *measurement) of the image x (B, *image), zero where nothing is measured."""
        return self.project(x if self.operator is None else self.operator.A(x))

    def count(self, y: Tensor) -> Tensor:
        """m (B,): how many entries of each sample are measured."""
        return self.project(torch.ones_like(y)).flatten(1).sum(1)

    def inner(self, u: Tensor, v: Tensor) -> Tensor:
        """<u, v> / m (B,) over the measured entries of u and v (B, *measurement)."""
        return (self.project(u) * v).flatten(1).sum(1) / self.count(u)

    def ones(self, y: Tensor) -> Tensor:
        """A 1 (B, *measurement): what an image of ones would measure."""
        shape = y.shape[1:] if self.image_shape is None else self.image_shape
        return self.predict(torch.ones(y.shape[0], *shape, dtype=y.dtype, device=y.device))

    def check_adjoint(self, y: Tensor, generator: torch.Generator, tolerance: float = 1e-4) -> None:
        """Raises UnveilError unless <A x, y> = <x, A^T y> up to `tolerance` of |A x| |y| for a random x and a y like `y`."""
        if self.operator is None:
            return
        shape = self.image_shape or tuple(y.shape[1:])
        x = normal(torch.empty(y.shape[0], *shape, dtype=y.dtype, device=y.device), generator)
        forward, v = self.operator.A(x), normal(y, generator)
        if forward.shape == y.shape:  # were v independent of A x, both products could be small by chance
            v = v + forward * (v.norm() / forward.norm().clamp_min(torch.finfo(y.dtype).tiny))
        back = self.operator.A_adjoint(v)
        if forward.shape != y.shape or back.shape != x.shape:
            raise UnveilError(
                f"the operator maps {tuple(x.shape)} to {tuple(forward.shape)} and back to {tuple(back.shape)}; "
                f"the data have shape {tuple(y.shape)}: check image_shape and the operator's arguments"
            )
        gap = ((forward * v).sum() - (x * back).sum()).abs()
        if not gap <= tolerance * forward.norm() * v.norm():  # NaN is wrong too
            raise UnveilError(
                f"the operator's adjoint is wrong: <A x, y> and <x, A^T y> differ by {gap:.2g}; mend A_adjoint"
            )


DENOISING = Problem()
