"""Rotations by any angle about the centre of the image, by Fourier interpolation in three shears.

    R(theta) = [1 t; 0 1] [1 0; -s 1] [1 t; 0 1],   t = tan(theta / 2), s = sin(theta)

in (across, down) from the centre (A. Paeth 1986; M. Unser, P. Thevenaz, L. Yaroslavsky 1995,
https://doi.org/10.1109/83.465102). A shear moves each line by a fraction of a pixel: a phase in the line's Fourier
transform. Hence T_g is orthogonal to rounding and T_g^-1 = T_g^T = T_-g: white noise stays white and of its level,
where bilinear interpolation would smooth image and noise by an amount that depends on the place. The highest frequency
of an even side, which no real shift by a fraction moves without loss, is left in place. Angles beyond 45 degrees (90 of
images that are not square) begin with exact turns.

Limits. What a shear pushes over the border comes back at the other side. Images that vanish outside 0.92 of the
inscribed circle, in space and in frequency, do not reach it; corners of photographs do, and return as other corners.
"""

import math

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import uniform
from unveil.symmetry.base import Symmetry, element_dtype
from unveil.symmetry.quarter import turn

__all__ = ["Rotate"]


class Rotate(Symmetry):
    """Rotations by angles uniform in [-limit, limit]. g = (angle,) in degrees, counter-clockwise as displayed.

    limit: in (0, 180] degrees; 180 is all rotations, less is no group but a neighbourhood of the identity in one.
    Raises UnveilError for another limit.
    """

    interpolates = True

    def __init__(self, limit: float = 180.0) -> None:
        if not 0 < limit <= 180:
            raise UnveilError(f"the limit of the angles must be in (0, 180] degrees, not {limit}")
        self.limit = limit

    def order(self, image_shape: tuple[int, ...]) -> float:
        return math.inf

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        like = torch.empty(len(x), 1, dtype=element_dtype(x), device=x.device)
        return uniform(like, -self.limit, self.limit, generator)

    def cover(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` angles at equal distances, the first one drawn."""
        offset = torch.rand(1, generator=generator, dtype=element_dtype(x), device=x.device)
        steps = (torch.arange(count, dtype=offset.dtype, device=x.device) + offset) / count
        return self.limit * (2 * steps[:, None] - 1)

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        step = 90.0 if x.shape[-2] == x.shape[-1] else 180.0
        quarters = (g[:, 0] / step).round() * (step / 90)
        theta = torch.deg2rad(g[:, 0] - 90 * quarters)
        # Turns to the left come before the shears and to the right after them: shears and turns by 90 degrees do not
        # commute, and T_-g is to undo T_g.
        work = turn(x, quarters.clamp(min=0)).to(element_dtype(x))
        across, down = torch.tan(theta / 2), -torch.sin(theta)
        work = _shear(work, across)
        work = _shear(work.mT, down).mT
        return turn(_shear(work, across), quarters.clamp(max=0)).to(x.dtype)


def _shear(x: Tensor, slope: Tensor) -> Tensor:
    """Move row r of x (B, C, H, W) to the right by slope (B,) times its distance below the centre, circularly."""
    height, width = x.shape[-2:]
    rows = torch.arange(height, dtype=x.dtype, device=x.device) - (height - 1) / 2
    frequencies = torch.fft.rfftfreq(width, dtype=x.dtype, device=x.device)
    if width % 2 == 0:
        frequencies[-1] = 0
    angle = -2 * math.pi * slope.to(x.dtype)[:, None, None] * rows[:, None] * frequencies  # (B, H, W // 2 + 1)
    phase = torch.polar(torch.ones_like(angle), angle)[:, None]
    return torch.fft.irfft(torch.fft.rfft(x) * phase, n=width)
