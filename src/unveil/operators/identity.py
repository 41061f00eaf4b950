"""The measurements are the images themselves, with noise: A = I. The smallest operator, the template of a new one."""

import torch.nn.functional as F
from torch import Tensor

from unveil.operators.base import Coarser, Operator

__all__ = ["Identity"]


class Identity(Operator):
    """x -> x, for images of any shape.

    Windows of y are those of x, and means over k x k pixels have k^2 times the exposure. Faulty pixels may be hidden.
    """

    kind = "identity"
    image_shape = None
    measurement_shape = None
    projects = True
    picks = True
    averages = True
    unseen = 0.0

    def _apply(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y

    def window(self, box: tuple[int, int, int, int]) -> "Identity":
        if self.measured is None:
            return self
        top, left, height, width = box
        return self._like(measured=self.measured[..., top : top + height, left : left + width])

    def coarser(self, k: int) -> Coarser:
        """Return A of k times larger pixels, of which those are measured that were measured everywhere."""
        if self.measured is None:
            return self, lambda y: F.avg_pool2d(y, k)
        everywhere = F.avg_pool2d(self.measured.float(), k) > 1 - 0.5 / k**2
        return self._like(measured=everywhere), lambda y: F.avg_pool2d(y, k)
