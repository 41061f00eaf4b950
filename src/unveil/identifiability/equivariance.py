"""Does the operator commute with the symmetry? Then the symmetry teaches nothing.

Where A T_g = T~_g A with orthogonal T_g and T~_g, A^T A commutes with T_g, hence T_g^T A^T A T_g = A^T A for every g,
and M is A^T A: moved images show what the images themselves show. The test needs no T~_g:

    gap = |T_g^T A^T A T_g x - A^T A x| / |A^T A x|  :  |T_g x - x| / |x|     (root mean squares over random x and g)

relative to how far T_g moves x, so that small angles count for what they are. It is zero if, and for orthogonal T_g
only if, A^T A commutes with all T_g. More than zero is necessary for learning, not sufficient: the rank decides
(`unveil.identifiability.spectrum`). T_g stands for T_g / noise_factor(g), which is what is orthogonal of the amplitude.

Where T_g interpolates, x and the comparison are confined to where it is right: x is noise that falls to zero at 0.6 of
the inscribed circle in space and from 0.6 to 0.95 of it in frequency, and the comparison falls to zero at 0.9. What
then remains of radially symmetric filters under rotations is the wrapping of their kernels at the border: 0.00 to 0.08
from 16 pixels a side on, most for sharp ones. One column of 64 that a mask leaves out makes 0.12, accelerated MRI 0.7.
The threshold is 0.08, and 0.001 for exact symmetries. Below 16 pixels the borders are everywhere, and a radially
symmetric filter may fail the test. What A shows faintly weighs little: columns missing where a blur leaves a quarter of
the amplitude pass for commuting with rotations.
"""

import math

import torch
from torch import Tensor

from unveil.operators.base import Operator
from unveil.random import normal
from unveil.shapes import expand
from unveil.symmetry import Symmetry

__all__ = ["commutes", "equivariance_gap"]

EXACT, INTERPOLATED = 1e-3, 0.08
"""Gaps below which A commutes with a symmetry, one whose actions are exact and one that interpolates."""
PIXELS = 2**16
"""Of all random images together, about."""


def equivariance_gap(
    operator: Operator, symmetry: Symmetry, image_shape: tuple[int, ...], generator: torch.Generator
) -> float:
    """Return the gap of images (C, H, W): 0 where A commutes with the symmetry, about 1 where they are unrelated.

    Computed where `generator` is, in double precision.
    """
    count = min(256, max(8, PIXELS // math.prod(image_shape)))
    x = normal(torch.empty(count, *image_shape, dtype=torch.float64, device=generator.device), generator)
    window: Tensor | float = 1.0
    if symmetry.interpolates:
        height, width = x.shape[-2:]
        side = min(height, width)
        radius = _radius(*((torch.arange(k) - (k - 1) / 2) / (side / 2) for k in (height, width))).to(x)
        frequency = _radius(2 * torch.fft.fftfreq(height), 2 * torch.fft.fftfreq(width)).to(x)
        x = torch.fft.ifft2(torch.fft.fft2(_taper(radius, 0, 0.6) * x) * _taper(frequency, 0.6, 0.95)).real
        window = _taper(radius, 0, 0.9)
    g = symmetry.draw(x, generator)
    factor = expand(symmetry.noise_factor(g), x)
    moved = symmetry.linear_part(x, g) / factor
    which = torch.randint(0, operator.count or 1, (count,), generator=generator, device=x.device)
    local = operator.select(which).to(x.device)
    still = local.A_adjoint(local.A(x))
    back = symmetry.adjoint(local.A_adjoint(local.A(moved)), g) / factor
    movement = (moved - x).norm() / x.norm()
    if not movement > 1e-6:
        return 0.0
    return float((window * (back - still)).norm() / (window * still).norm() / movement)


def _radius(down: Tensor, across: Tensor) -> Tensor:
    return (down[:, None].square() + across.square()).sqrt()


def _taper(r: Tensor, start: float, end: float) -> Tensor:
    """Return 1 below `start`, 0 above `end`, cos^2 in between."""
    return torch.cos(((r - start) / (end - start)).clamp(0, 1) * math.pi / 2).square()


def commutes(gap: float, symmetry: Symmetry) -> bool:
    """Return whether that gap is zero, to what sampling leaves."""
    return gap < (INTERPOLATED if symmetry.interpolates else EXACT)
