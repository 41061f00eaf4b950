"""The largest singular value of a linear map, by power iteration.

Golub and Van Loan 2013, Matrix Computations, 4th ed., 7.3.
"""

import math
from collections.abc import Callable

from torch import Tensor

__all__ = ["spectral_norm"]


def spectral_norm(gram: Callable[[Tensor], Tensor], x: Tensor, iterations: int = 20) -> float:
    """Return the largest singular value of A, from below: to 1% where singular values fall slowly.

    gram: A^T A v, of v like x. x: where it begins, not orthogonal to the vector sought: noise.
    """
    square = 1.0
    for _ in range(iterations):
        x = gram(x / x.norm())
        square = float(x.norm())
    return math.sqrt(square)
