"""What a detector has in its images and the scene has not: offsets and gains that differ from pixel to pixel.

Pixel i counts k_i photons of a scene and gives y_i = g_i k_i + o_i + r_i n. With g and o those of the middle pixel

    z_i = (y_i - o_i) g / g_i + o = g k_i + o + (r_i g / g_i) n

is what a detector of one gain and one offset would have given, whose read noise alone differs. So the pattern is taken
off before anything is learned, and no estimate holds it (as in Huang et al. 2013,
https://doi.org/10.1038/nmeth.2488).
"""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Pattern"]


class Pattern(NamedTuple):
    """Hold z = factor y + shift, both (1, C, H, W): factor without unit, shift in the units of y."""

    factor: Tensor
    shift: Tensor

    def off(self, y: Tensor, top: int = 0, left: int = 0) -> Tensor:
        """Return z of a window y (..., C, h, w) of images, whose first pixel is (top, left)."""
        height, width = y.shape[-2:]
        factor, shift = (
            part[0, :, top : top + height, left : left + width].to(y) for part in (self.factor, self.shift)
        )
        return factor * y + shift
