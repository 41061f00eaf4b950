"""The measurements are the images themselves, with noise: A = I. The smallest operator, the template of a new one."""

import torch.nn.functional as F
from torch import Tensor

from unveil.operators.base import Coarser, Operator

__all__ = ["Identity"]


class Identity(Operator):
    """x -> x, for images of any shape.

    Windows of y are those of x, and means over k x k pixels have k^2 times the exposure.
    """

    image_shape = None
    measurement_shape = None
    projects = True
    averages = True
    unseen = 0.0

    def _apply(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y

    def window(self, box: tuple[int, int, int, int]) -> "Identity":
        return self

    def coarser(self, k: int) -> Coarser:
        return self, lambda y: F.avg_pool2d(y, k)
