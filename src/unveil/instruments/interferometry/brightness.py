"""How bright is the source that an interferometer saw? From visibilities alone, whatever their phases are.

    b = integral of I^2 over the sky / integral of I = integral of |V|^2 over (u, v) / V(0)    (Parseval)

is the brightness of the source where it has one: a disc of it is of b, a round Gaussian has its peak at 2 b and a thin
ring of Gaussian profile at 1.4 b. |V|^2 is taken for round, and for zero beyond the longest baseline.
"""

import math

import torch
from torch import Tensor

from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["peak_brightness"]

PEAK_OVER_MEAN = 1.5
RINGS = 32
"""In which the baselines are averaged, equally wide."""
SHORT = 0.25
"""Cycles across the image, below which a baseline sees about as much of what lies outside."""


def peak_brightness(visibilities: Tensor, coverage: Coverage, field: float) -> float | None:
    """Return the brightness of the source, in jansky per steradian, to within a factor of about two.

    None where the noise hides it.

    visibilities: complex (B, M), in jansky, of B sources that the coverage saw. field: width of the image, radians;
    what lies beyond adds to the flux of the shortest baselines, which are left out where there are others.
    """
    r = torch.hypot(coverage.u, coverage.v).double()
    near = (r * field < SHORT) & bool((r * field >= SHORT).any())
    squares = ((visibilities.abs().double() ** 2).mean(0) - 2 * coverage.sigma.double() ** 2)[~near]
    r, weight = r[~near], coverage.sigma.double()[~near] ** -2
    ring = (r / r.max() * RINGS).long().clamp(max=RINGS - 1)
    sums = [
        torch.zeros(RINGS, dtype=torch.float64).index_add(0, ring, t) for t in (weight, weight * r, weight * squares)
    ]
    some = sums[0] > 0
    radius, power = (total[some] / sums[0][some] for total in sums[1:])
    power = power.clamp(min=0)
    if not bool((power > 0).any()):
        return None
    radius, power = (torch.cat([ends, t]) for ends, t in ((torch.zeros(1).double(), radius), (power[:1], power)))
    integral = float(torch.trapezoid(2 * math.pi * radius * power, radius))
    flux = float(power.max()) ** 0.5
    return PEAK_OVER_MEAN * integral / flux
