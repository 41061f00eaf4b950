"""The operator of a turned image: A T_g.

Of an orthogonal T_g, function((A T_g)^T A T_g) = T_g^T function(A^T A) T_g.
"""

from collections.abc import Callable

from torch import Tensor

from unveil.operators.base import Operator
from unveil.symmetry import Symmetry

__all__ = ["Turned"]


class Turned(Operator):
    """A T_g and its transpose, both differentiable, of a linear symmetry.

    g: (1 or B, ...), the turns, as `symmetry.draw` gives them.
    """

    rows = ("measured", "g")

    def __init__(self, operator: Operator, symmetry: Symmetry, g: Tensor) -> None:
        self.operator, self.symmetry, self.g = operator, symmetry, g
        self.image_shape, self.measurement_shape = operator.image_shape, operator.measurement_shape
        self.measured = operator.measured
        self.projects, self.unseen = operator.projects, operator.unseen

    @property
    def count(self) -> int | None:
        return super().count or self.operator.count

    def select(self, which: Tensor) -> "Turned":
        return super().select(which)._like(operator=self.operator.select(which))

    def hide(self, shown: Tensor) -> "Turned":
        return super().hide(shown)._like(operator=self.operator.hide(shown))

    def gram(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
        if not self.symmetry.orthogonal:
            return None
        inner = self.operator.gram(self.symmetry.apply(x, self.g), function)
        return None if inner is None else self.symmetry.adjoint(inner, self.g)

    def ridge(self, r: Tensor, lambda_: Tensor) -> Tensor:
        if not self.symmetry.orthogonal:
            return self.inverse(self.A_adjoint(r), lambda_)
        return self.symmetry.adjoint(self.operator.ridge(r, lambda_), self.g)

    def _apply(self, x: Tensor) -> Tensor:
        return self.operator.A(self.symmetry.apply(x, self.g))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.symmetry.adjoint(self.operator.A_adjoint(y), self.g)
