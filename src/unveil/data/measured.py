"""Measurements as their system measured them: what lies where nothing was measured is not read, NaN or not.

Detectors mark their gaps, and registration its borders, by NaN, infinity or a number of their own.
"""

import torch
from torch import Tensor

from unveil.data.source import ImageSource, Subset, Window
from unveil.errors import UnveilError
from unveil.operators.base import Operator

__all__ = ["Measured"]

MOST = 0.5
"""The share of the missing entries that are numbers, and of the measured ones that are not, from which a mask is
inverted."""


class Measured(Subset):
    """The measurements of `source`, zero at the entries that their operator (in the same order) does not measure."""

    def __init__(self, source: ImageSource, operator: Operator) -> None:
        super().__init__(source, range(len(source)))
        self._operator = operator

    def _read(self, i: int, window: Window) -> Tensor:
        y = super()._read(i, window)
        known = y.isfinite()
        if bool(known.all()):  # the rest the operator projects away itself
            return y
        measured = self._operator.select(torch.tensor([i])).measured
        if measured is None:
            return y
        top, left, height, width = window
        measured = measured.expand(1, *self.shape(i))[0, :, top : top + height, left : left + width]
        if not bool(measured.all()) and min(known[~measured].float().mean(), (~known)[measured].float().mean()) > MOST:
            raise UnveilError(
                f"{self.where(i)} has numbers where the mask says that entries are missing, and NaN or infinite values "
                "where it says measured: is the mask inverted? It must be 1 where measured and 0 where missing"
            )
        return torch.where(measured, y, 0)
