"""How many measurements there must be, whatever they are.

    m >= n / |G|,    with N operators N m >= n / |G|

for M = E_g[T_g^T A^T A T_g] is a mean of |G| (N |G|) matrices of rank m at most (J. Tachella, D. Chen, M. Davies 2023,
https://jmlr.org/papers/v24/22-0315.html). Necessary, not sufficient: a symmetry with which A commutes adds nothing.
"""

import math

import torch

from unveil.operators.base import Operator

__all__ = ["least_measurements", "measured_entries"]


def least_measurements(n: int, order: float, operators: int = 1) -> int:
    """Return the least m, real entries in one measurement, with which images of n entries can be learned."""
    return max(1, math.ceil(n / (order * operators)))


def measured_entries(operator: Operator, image_shape: tuple[int, ...]) -> int:
    """Return m: the real entries measured by one operator; of several, by the one that measures most."""
    shape = operator.measurement_shape or image_shape
    if operator.measured is None:
        return math.prod(shape)
    most = 0
    for part in torch.arange(operator.count or 1).split(max(1, 2**22 // math.prod(shape))):
        seen = operator.select(part).project(torch.ones(len(part), *shape))
        most = max(most, int(seen.flatten(1).sum(1).max()))
    return most
