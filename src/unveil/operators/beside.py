"""Two instruments that look at one scene.

They are y = A x + n, and beside it an ideal camera, x_t = x + t^(-1/2) w, w ~ N(0, I).

    [y; t^(1/2) x_t] = [A; t^(1/2) I] x + [n; w]

so that an exposure t = 0 is no information, and not infinite noise. Both lie in one vector, y first.
"""

import torch
from torch import Tensor

from unveil.operators.base import Operator
from unveil.shapes import expand

__all__ = ["Beside"]


class Beside(Operator):
    """[A; t^(1/2) I], from images to vectors (B, M + n).

    operator: A. root: t^(1/2) (1 or B,). like: y (B, *measurement), for the shapes of both.
    """

    rows = ("measured", "root")

    def __init__(self, operator: Operator, root: Tensor, like: Tensor) -> None:
        image = operator.image(like)
        self.operator, self.root = operator, root
        self.image_shape, self.seen_shape = tuple(image.shape[1:]), tuple(like.shape[1:])
        self.entries = like[0].numel()
        self.measurement_shape = (self.entries + image[0].numel(),)
        if operator.measured is not None:
            measured = operator.measured
            rows = measured if measured.ndim > len(self.seen_shape) else measured[None]
            seen = rows.expand(-1, *self.seen_shape).flatten(1)
            self.measured = torch.cat([seen, seen.new_ones(len(seen), image[0].numel())], 1)

    @property
    def count(self) -> int | None:
        return super().count or self.operator.count

    def select(self, which: Tensor) -> "Beside":
        return super().select(which)._like(operator=self.operator.select(which))

    def join(self, y: Tensor, x_t: Tensor) -> Tensor:
        """Return (B, M + n) of y (B, *measurement) and x_t (B, *image)."""
        return torch.cat([y.flatten(1), (self._root(x_t) * x_t).flatten(1)], 1)

    def parts(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (B, *measurement) and t^(1/2) x_t (B, *image)."""
        y, scaled = both[:, : self.entries], both[:, self.entries :]
        return y.reshape(-1, *self.seen_shape), scaled.reshape(-1, *(self.image_shape or ()))

    def apart(self, y: Tensor) -> tuple[Operator, Tensor, Tensor, Tensor]:
        seen, scaled = self.parts(y)
        return self.operator, seen, self.root.to(scaled).expand(len(scaled)), scaled

    def _apply(self, x: Tensor) -> Tensor:
        return self.join(self.operator.A(x), x)

    def _adjoint(self, y: Tensor) -> Tensor:
        seen, scaled = self.parts(y)
        return self.operator.A_adjoint(seen) + self._root(scaled) * scaled

    def _root(self, x: Tensor) -> Tensor:
        return expand(self.root, x).to(x.dtype)
