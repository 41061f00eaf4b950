"""Demosaicing: a colour filter array lets each pixel of the sensor see one of the three colours.

    y_ij = x_c(i,j),ij + n_ij,   c(i, j) the colour of the filter over pixel (i, j)

y (1, H, W) is the raw mosaic, where every entry is measured; x (3, H, W) the colour image, channels red, green, blue.
The rows of A are rows of the identity, so A A^T = I and A^+ = A^T. The filters repeat every 2 x 2 pixels (B. E. Bayer,
US patent 3,971,065, 1976, https://patents.google.com/patent/US3971065A).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.demosaicing import DemosaicingSection
from unveil.operators.base import Operator

__all__ = ["Mosaic", "build_demosaicing", "demosaicing"]

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def demosaicing(height: int, width: int, pattern: str = "RGGB") -> "Mosaic":
    """Return the operator of colour images x (3, height, width) from raw mosaics y (1, height, width).

    Both are in the same units.

    pattern: the colours of the four pixels at the top left, row by row: RGGB, BGGR, GRBG or GBRG. Some readers of raw
    files crop or turn the image first, and change it: pass the pattern of the array as it was read.
    Raises UnveilError for another pattern, or a height or width that is not a multiple of 2.
    """
    if pattern not in PATTERNS:
        raise UnveilError(f"the mosaic's pattern is {pattern!r}: it must be one of {', '.join(PATTERNS)}")
    if min(height, width) < 2 or height % 2 or width % 2:
        raise UnveilError(
            f"the mosaic has {height}x{width} pixels: the pattern repeats every 2, so crop both to a multiple of 2"
        )
    tile = torch.tensor([[[float(filter_ == colour) for filter_ in pattern] for colour in "RGB"]]).reshape(1, 3, 2, 2)
    return Mosaic(tile.repeat(1, 1, height // 2, width // 2))


def build_demosaicing(section: DemosaicingSection, shape: tuple[int, int, int], count: int) -> "Mosaic":
    """Return the operator that a configuration describes, for `count` measurements of `shape` (C, H, W).

    Raises UnveilError when the measurements are colour images, or have odd sides.
    """
    if shape[0] != 1:
        raise UnveilError(
            f"operator.kind = demosaicing: the measurements have {shape[0]} channels, and a raw mosaic has 1: "
            "give the raw files, not the colour images that a camera or program made of them"
        )
    return demosaicing(shape[1], shape[2], section.pattern)


class Mosaic(Operator):
    """filters (1, 3, H, W), 1 where the pixel sees the colour.

    deepinv's `Demosaicing` keeps three channels, mostly zeros.
    """

    kind = "demosaicing"
    projects = True
    picks = True

    def __init__(self, filters: Tensor) -> None:
        self.filters = filters
        self.image_shape = tuple(filters.shape[1:])
        self.measurement_shape = (1, *self.image_shape[1:])

    def _apply(self, x: Tensor) -> Tensor:
        return (x * self.filters.to(x)).sum(1, keepdim=True)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y * self.filters.to(y)
