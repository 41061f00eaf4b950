"""Images with gaps: faulty pixels, saturated or dead, are read as NaN, which a `Measurement` takes for not measured.

A saturated value says only that the pixel was at least as bright, a dead one nothing. What is left of the noise near
saturation is cut off at its bright end: within some three deviations of the top estimates are a little too dark.
"""

import torch
from torch import Tensor

from unveil.data.source import ImageSource, Subset, Window
from unveil.errors import UnveilError

__all__ = ["Gaps"]

ROUNDING = 1e-6
"""On the [0, 1] scale."""


class Gaps(Subset):
    """The images of `source`, NaN where they are saturated or dead.

    saturated: the number, as stored in the files, from which on a pixel counts as saturated; None: none does.
    dead: boolean (C or 1, H, W), true where a pixel of the detector is not to be trusted; None: all are.
    """

    gaps = True

    def __init__(self, source: ImageSource, saturated: float | None, dead: Tensor | None) -> None:
        super().__init__(source, range(len(source)))
        self._saturated, self._dead = saturated, dead

    @property
    def raw(self) -> ImageSource:
        return self._parent

    def _read(self, i: int, window: Window) -> Tensor:
        y = super()._read(i, window)
        faulty = torch.zeros_like(y, dtype=torch.bool) if self._dead is None else self._dead_in(i, window).expand_as(y)
        known = y.isfinite() | y.isnan() if self._parent.gaps else y.isfinite()
        if not bool(known[~faulty].all()):
            raise UnveilError(f"{self.where(i)} contains NaN or infinite values; mask or replace them")
        if self._saturated is not None:
            origin = self.origin(i)
            low, high = (0.0, 1.0) if origin is None else origin.value_range
            top = torch.tensor((self._saturated - low) / (high - low) - ROUNDING)
            faulty = faulty | (y >= self.as_read(i, window, top))
        return y.masked_fill(faulty, float("nan"))

    def _dead_in(self, i: int, window: Window) -> Tensor:
        """Return the dead pixels of a window of image i, boolean (C or 1, h, w)."""
        assert self._dead is not None
        if self._dead.shape[-2:] != self.shape(i)[1:]:
            height, width = self._dead.shape[-2:]
            raise UnveilError(
                f"{self.where(i)}: data.dead is of {height}x{width} pixels, another detector's: give images of that "
                "size, or leave it out"
            )
        top, left, h, w = window
        return self._dead[..., top : top + h, left : left + w]
