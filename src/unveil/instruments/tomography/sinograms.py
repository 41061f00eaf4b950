"""Which axis of a sinogram is that of the detectors, is it one of attenuation, and where is the axis of rotation?

The sum over the detectors is the mass of the slice at every angle; the outermost detectors see air. The centre of mass
(u, v), from the axis of rotation, is seen at

    sum_d d y_dt / sum_d y_dt = axis + u cos(theta_t) + v sin(theta_t)

(the first of Helgason's and Ludwig's conditions), whatever else the slice is: three numbers, by least squares.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unveil.instruments.tomography.operator import ParallelBeam
from unveil.operators.base import Operator
from unveil.words import counted

__all__ = ["Rotation", "axes_line", "dead_line", "mass_line", "rotation", "rotation_line", "transmitted_line"]

CONSTANT = 0.1
"""The largest relative deviation of sums that are one mass, truncated rays and noise included."""
TIMES = 3.0
"""How many times more than those the other sums deviate at least."""
OUTSIDE = 0.02
"""The share of the detectors, at either end, that see air if any do."""
SHADE = 0.9
"""Of what is transmitted by air at most, in the mean of all; and of the brightest at least, by air."""


AIR = 0.1
"""The largest share of the mean that the outermost detectors may have, where they see air."""
LOST = 0.5
"""The share of the mass, lost or gained, from which a projection is faulty."""
FEWEST_ANGLES = 8
FAR = 1.0
"""Pixels by which the axis of rotation may be off before slices show arcs."""
APART = 4.0
"""Standard errors, besides."""
DEAD, WIDE = 0.25, 3
"""Of the deviation over angles that detectors within so many pixels have on both sides, the most that a dead one has:
.47 is the least of the 640 detectors of a real tooth."""
MANY = 0.25
"""The share of the detectors that are dead at most: more are how the slices are."""
WAVY = 0.003
"""The deviation of the centres of mass from those of three numbers, over the detectors, from which angles are wrong."""


class Rotation(NamedTuple):
    """Where the axis of rotation is, pixels from the middle of the first detector; its standard error; what is left.

    left: the deviation of the centres of mass from those that axis and slice have, pixels.
    """

    axis: float
    error: float
    left: float


def rotation(y: Tensor, angles: Tensor) -> Rotation | None:
    """Return the axis of rotation from sinograms y (B, C, detectors, T) at angles (T,), degrees.

    The median of the B C. None for few angles, and where slices are wider than the detector: their sums are no mass.
    """
    z = y.double().flatten(0, 1)
    count, place = len(angles), torch.arange(z.shape[-2], dtype=torch.float64)
    air = edges(z).flatten(1).median(1).values[:, None, None]
    mass = (z - air).sum(-2)  # (B C, T)
    whole = (air[:, 0, 0].abs() < AIR * z.mean((1, 2)).abs()) & (mass.std(1) < CONSTANT * mass.mean(1))
    if count < FEWEST_ANGLES or not bool(whole.any()):
        return None
    centres = (place @ (z - air)[whole]) / mass[whole]
    theta = torch.deg2rad(angles.double())
    design = torch.stack([torch.ones_like(theta), theta.cos(), theta.sin()], 1)
    found = torch.linalg.lstsq(design, centres.T).solution  # (3, K)
    left = ((centres.T - design @ found).square().sum(0) / (count - 3)).sqrt()
    error = left * float(torch.linalg.pinv(design)[0].norm())
    return Rotation(*(float(t.median()) for t in (found[0], error, left)))


def rotation_line(y: Tensor, operator: ParallelBeam, sigma: float | None) -> str | None:
    """Return a line where centres of mass in y (B, C, detectors, T) are not those of its angles, or of its axis."""
    if (found := rotation(y, operator.angles)) is None:
        return None
    detectors = y.shape[-2]
    noise = 0 if sigma is None else sigma * (detectors**3 / 12) ** 0.5 / float(y.double().sum(-2).mean().abs())
    if sigma is not None and found.left > WAVY * detectors + 3 * noise:
        return (
            f"centres of mass do not move as those of a slice that is turned by operator.angles: they are off by "
            f"{found.left:.2g} pixels; check the angles' order, range and unit, degrees"
        )
    if found.error > FAR or abs(found.axis - operator.axis) <= max(FAR, APART * found.error):
        return None
    error = max(found.error, 0.05)
    return (
        f"the axis of rotation seems to be at pixel {found.axis:.1f} of the detector (+- {error:.1g}), and "
        f"operator.axis is {operator.axis:g}: slices would have arcs; --set operator.axis={found.axis:.1f}"
    )


def mass_line(y: Tensor) -> str | None:
    """Return a line where sinograms y (B, C, detectors, angles) are below air, or some projections have lost mass."""
    mass = y.double().sum((1, 2))  # (B, T)
    if float(mass.std()) > float(mass.mean().abs()):  # there is none
        return None
    if float(mass.median()) < 0:
        return "the sinograms are negative in the mean, where mass attenuates: save -log of what is transmitted"
    typical = mass.median(1, keepdim=True).values
    faulty = ((mass - typical).abs() > LOST * typical).any(0).nonzero().flatten().tolist()
    if not 0 < len(faulty) < LOST * mass.shape[1]:
        return None
    return (
        f"{counted(len(faulty), 'projection')} of {mass.shape[1]}, from number {faulty[0]} on, lost or gained more "
        "than half of the mass that the others have: leave these angles out, of the data and of operator.angles"
    )


def dead_line(y: Tensor) -> str | None:
    """Return a line where detectors of y (B, C, detectors, angles) see less of the slice than those on both sides."""
    if y.shape[-1] * len(y) < FEWEST_ANGLES:
        return None
    over = y.double().var(-1).mean((0, 1)).sqrt()
    sides = [torch.stack([over.roll(k * side) for k in range(1, WIDE + 1)]).amax(0) for side in (1, -1)]
    inner = torch.arange(WIDE, max(WIDE, len(over) - WIDE))
    dead = inner[(over < DEAD * torch.minimum(*sides))[inner]].tolist()
    if not 0 < len(dead) < MANY * len(over):
        return None
    return (
        f"{counted(len(dead), 'detector')} of {len(over)}, from pixel {dead[0]} on, hardly change from angle to angle, "
        "unlike their neighbours: dead or stuck ones, whose slices have rings; interpolate them from their neighbours"
    )


def axes_line(y: Tensor) -> str | None:
    """Return a line where sinograms y (B, C, detectors, angles) seem to have their axes exchanged."""
    over_detectors, over_angles = (deviation(y.double().sum(axis)) for axis in (-2, -1))
    if not (over_angles < CONSTANT and over_detectors > max(CONSTANT, TIMES * over_angles)):
        return None
    return (
        "the sinograms' axes seem to be exchanged: sums over the detectors, the mass of a slice, should be the same at "
        f"every angle and deviate by {over_detectors:.1%}, and sums over the angles by {over_angles:.1%}; if they are "
        "(angles, detectors), exchange H and W in data.axes, e.g. --set data.axes=NWH, or save them transposed"
    )


def transmitted_line(y: Tensor) -> str | None:
    """Return a line where sinograms y (B, C, detectors, angles) seem to be of what is transmitted, not absorbed."""
    air = edges(y).double().flatten()
    level, brightest = float(air.median()), float(y.double().flatten(2).quantile(0.99, -1).median())
    if not (level > 0 and level > SHADE * brightest and float(air.std()) < (1 - SHADE) * level):
        return None
    if (mean := float(y.double().mean())) > SHADE * level:
        return None
    return (
        f"the outermost detectors, which should see air and no mass, have the largest values ({level:.3g}, the mean is "
        f"{mean:.3g}): these seem to be transmitted intensities; divide them by the flats, and save -log of that"
    )


def edges(y: Tensor) -> Tensor:
    """Return what the outermost detectors see of y (..., detectors, angles)."""
    edge = max(1, round(OUTSIDE * y.shape[-2]))
    return torch.cat([y[..., :edge, :], y[..., -edge:, :]], -2)


def deviation(sums: Tensor) -> float:
    """Return the deviation of sums (B, C, K) along K, relative to their mean: the median of the B C."""
    return float((sums.std(-1) / sums.mean(-1).abs().clamp_min(torch.finfo(sums.dtype).tiny)).median())


def doubts(y: Tensor, operator: Operator, sigma: float | None) -> list[str | None]:
    """Return what sinograms y (B, C, detectors, angles) contradict of their description, a line each."""
    line = axes_line(y) or transmitted_line(y) or mass_line(y) or dead_line(y)
    if line is None and isinstance(operator, ParallelBeam):
        line = rotation_line(y, operator, sigma)
    return [line]
