"""Images without what their detector adds to each pixel and multiplies it with: z = factor y + shift, by pixel."""

from torch import Tensor

from unveil.data.source import ImageSource, Subset, Window
from unveil.errors import UnveilError

__all__ = ["Corrected"]


class Corrected(Subset):
    """The images factor y + shift of `source`, all of one size; factor, shift: (C or 1, H, W), of that size.

    Raises UnveilError for another size.
    """

    def __init__(self, source: ImageSource, factor: Tensor, shift: Tensor) -> None:
        super().__init__(source, range(len(source)))
        self._factor, self._shift = factor, shift
        for i in range(len(source)):
            if source.shape(i)[1:] != factor.shape[1:]:
                (h, w), (height, width) = source.shape(i)[1:], factor.shape[1:]
                raise UnveilError(
                    f"{source.where(i)} has {h}x{w} pixels, and the maps of the detector have {height}x{width}: give "
                    "whole images by this detector, or maps that are cropped as they are"
                )

    def as_read(self, i: int, window: Window, value: Tensor) -> Tensor:
        top, left, height, width = window
        value = super().as_read(i, window, value)
        inside = (..., slice(top, top + height), slice(left, left + width))
        return self._factor[inside] * value + self._shift[inside]

    def _read(self, i: int, window: Window) -> Tensor:
        top, left, height, width = window
        inside = (..., slice(top, top + height), slice(left, left + width))
        return self._factor[inside] * super()._read(i, window) + self._shift[inside]
