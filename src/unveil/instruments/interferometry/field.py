"""Is the field of view one that the baselines resolve?"""

from torch import Tensor

from unveil.instruments.interferometry.operator import Visibilities
from unveil.operators.base import Operator

__all__ = ["doubts"]


def doubts(y: Tensor, operator: Operator, sigma: float | None) -> list[str | None]:
    """Return a line where the field of view holds no whole period of the longest baseline, so that all see a point."""
    if not isinstance(operator, Visibilities):
        return []
    periods = operator.pixels * float((operator.u.square() + operator.v.square()).max().sqrt())
    if periods >= 1:
        return []
    return [
        f"operator.field_of_view holds {periods:.2g} periods of the longest baseline, and resolves nothing: "
        f"give more than {1 / periods:.2g} times as much, in microarcseconds"
    ]
