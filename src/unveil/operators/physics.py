"""deepinv's physics as operators (https://deepinv.github.io): anything linear with A and A_adjoint."""

from typing import Any

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.operators.base import Operator

__all__ = ["Physics"]


class Physics(Operator):
    """A deepinv `LinearPhysics` of images (C, H, W).

    physics: with A and A_adjoint. Where it has a `mask` of the measurements' shape, entries at which that is zero count
    as not measured. Raises UnveilError for another object, and where the adjoint is not one.
    """

    def __init__(self, physics: Any, image_shape: tuple[int, ...]) -> None:
        if not all(callable(getattr(physics, name, None)) for name in ("A", "A_adjoint")):
            raise UnveilError(
                f"operator is a {type(physics).__name__}: pass an unveil operator or a deepinv LinearPhysics"
            )
        self.physics, self.image_shape = physics, image_shape
        y = self._apply(torch.zeros(1, *image_shape))
        self.measurement_shape = tuple(y.shape[1:])
        mask = getattr(physics, "mask", None)
        if isinstance(mask, Tensor):
            try:
                self.measured = (mask != 0).expand(1, *self.measurement_shape)
            except RuntimeError:  # of another thing than the measurements
                self.measured = None
        self.check_adjoint(y, torch.Generator().manual_seed(0))

    def _apply(self, x: Tensor) -> Tensor:
        y: Tensor = self.physics.A(x)
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        x: Tensor = self.physics.A_adjoint(y)
        return x
