"""Is the noise in the data as strong as is said? It can be looked for where measurements look like images with noise.

They do where every entry is measured and a point of the image shows in few of them: the entries over which it spreads,
(sum a_i^2)^2 / sum a_i^4 with a = A delta, are SPREAD of all at most. Fourier coefficients do not; blurred images, CTFs
and sinograms do.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise import estimate_common_sigma
from unveil.operators.base import Operator

__all__ = ["find_level"]

SPREAD = 0.25
SMALLEST = 16
"""Side of an image whose noise is looked for, pixels."""


def find_level(operator: Operator, image_shape: tuple[int, ...], y: Tensor) -> float | str:
    """Return sigma of the noise in measurements y (B, *measurement), or why it was not looked for."""
    part = operator.select(torch.zeros(1, dtype=torch.long)).to(y.device)
    if part.measured is not None:
        return "entries are missing"
    if y.ndim != 4 or min(y.shape[-2:]) < SMALLEST:
        return f"the measurements are smaller than {SMALLEST} x {SMALLEST}"
    point = torch.zeros(1, *image_shape, dtype=y.dtype, device=y.device)
    point[0, 0, image_shape[-2] // 2, image_shape[-1] // 2] = 1
    squares = part.A(point).square()
    if not float(squares.sum() ** 2) <= SPREAD * squares.numel() * float(squares.square().sum()):
        return "the measurements do not look like images"
    try:
        return estimate_common_sigma(y)
    except UnveilError as error:
        return str(error)
