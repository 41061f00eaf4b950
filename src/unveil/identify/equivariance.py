"""Does the operator commute with the symmetry? Then the symmetry teaches nothing.

Where A T_g = T~_g A with orthogonal T_g and T~_g, A^T A commutes with T_g, hence T_g^T A^T A T_g = A^T A for every g, and M is
A^T A: moved images show what the images themselves show. The test needs no T~_g:

    gap = |T_g^T A^T A T_g x - A^T A x| / |A^T A x|  :  |T_g x - x| / |x|     (root mean squares over random x and g)

relative to how far T_g moves x, so that small angles count for what they are. It is zero if, and for orthogonal T_g only if,
A^T A commutes with all T_g. More than zero is necessary for learning, not sufficient: the rank decides (`unveil.identify.spectrum`).
T_g stands for T_g / noise_factor(g), which is what is orthogonal of the amplitude.

Where T_g interpolates, x and the comparison are confined to where it is right: x is noise that falls to zero at 0.7 of the
inscribed circle, in space and in frequency, and the comparison falls to zero at the circle. What then remains of a radially
symmetric filter under rotations is the wrapping of its kernel at the border: 0.01 to 0.06 from 16 pixels a side on, and up to 0.1
below; Cartesian and single frequencies have 0.4 and more. The threshold is 0.1 there, and 0.001 for exact symmetries.
"""

import math

import torch
from torch import Tensor

from unveil.problem import Problem, Several
from unveil.random import normal
from unveil.shapes import expand
from unveil.symmetry import Symmetry

__all__ = ["commutes", "equivariance_gap"]

EXACT, INTERPOLATED = 1e-3, 0.1
"""Gaps below which A commutes with a symmetry, one whose actions are exact and one that interpolates."""
INSIDE = 0.7
PIXELS = 2**16
"""Of all random images together, about."""


def equivariance_gap(
    problem: Problem | Several, symmetry: Symmetry, image_shape: tuple[int, ...], generator: torch.Generator
) -> float:
    """The gap of images (C, H, W): 0 where A commutes with the symmetry, about 1 where it has nothing to do with it.

    Computed where `generator` is, in double precision.
    """
    count = min(256, max(8, PIXELS // math.prod(image_shape)))
    x = normal(torch.empty(count, *image_shape, dtype=torch.float64, device=generator.device), generator)
    window: Tensor | float = 1.0
    if symmetry.interpolates:
        height, width = x.shape[-2:]
        radius = _radius(
            *((torch.arange(side) - (side - 1) / 2) / (min(height, width) / 2) for side in (height, width))
        )
        frequency = _radius(2 * torch.fft.fftfreq(height), 2 * torch.fft.fftfreq(width))
        x = torch.fft.ifft2(torch.fft.fft2(_taper(radius / INSIDE).to(x) * x) * _taper(frequency / INSIDE).to(x)).real
        window = _taper(radius).to(x)
    g = symmetry.draw(x, generator)
    factor = expand(symmetry.noise_factor(g), x)
    moved = symmetry.linear_part(x, g) / factor
    operators = len(problem) if isinstance(problem, Several) else 1
    local = problem.at(torch.randint(0, operators, (count,), generator=generator, device=x.device))
    still = local.adjoint(local.predict(x))
    back = symmetry.adjoint(local.adjoint(local.predict(moved)), g) / factor
    movement = (moved - x).norm() / x.norm()
    if not movement > 1e-6:
        return 0.0
    return float((window * (back - still)).norm() / (window * still).norm() / movement)


def _radius(down: Tensor, across: Tensor) -> Tensor:
    return (down[:, None].square() + across.square()).sqrt()


def _taper(r: Tensor) -> Tensor:
    """cos^2 from 1 at r = 0 to 0 at r = 1."""
    return torch.cos(r.clamp(max=1) * math.pi / 2).square()


def commutes(gap: float, symmetry: Symmetry) -> bool:
    """Whether that gap is zero, to what sampling leaves."""
    return gap < (INTERPOLATED if symmetry.interpolates else EXACT)
