"""Read noise from the third moment: counted photons are skewed, read noise is not.

Variance alone does not tell offset from read noise (`unveil.noise.estimate.background`). With v the variance of y, and
r the read noise in photons,

    E[(y - u)^3] = gain^2 (u - offset) = gain v - gain^3 r^2,      r^2 = v / gain^2 - E[(y - u)^3] / gain^3.

In the blocks with least structure what MID and HIGH frequencies make of a block, e = P y with P a projection, holds
noise alone, and E[e_i^3] = sum_j P_ij^3 E[(y - u)^3]. It scatters as v^(3/2): a few photons in the dark parts tell r, a
hundred do not.
"""

import math

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, LOW, MID, SIDE, coefficients
from unveil.noise.estimate.level import dct
from unveil.noise.estimate.own_line import OwnLine

__all__ = ["read_square"]

QUIET, FEWEST = 0.1, 20
"""The share of the blocks that is looked at, and their least number."""


def read_square(image: Tensor, line: OwnLine) -> tuple[float, float] | None:
    """Return r^2, in squared photons, and its standard error, of `image` (C, H, W) with this line; None of too few."""
    z = coefficients(image).flatten(1)
    mean = z[0] / SIDE
    v = line.level + line.gain * (mean - line.centre)
    rough = torch.where(v > 0, z[LOW].square().mean(0) / v, math.inf)
    count = min(max(FEWEST, round(QUIET * len(mean))), int((v > 0).sum()))
    if count < FEWEST:
        return None
    quiet = rough.argsort()[:count]
    basis = torch.einsum("ui,vj->uvij", dct(SIDE), dct(SIDE)).reshape(SIDE**2, SIDE**2)
    kept = basis[MID | HIGH]
    passed = float((kept.T @ kept).pow(3).sum(1).mean())
    third = (kept.T @ z[MID | HIGH][:, quiet]).pow(3).mean(0) / passed / line.gain**3
    variance = v[quiet] / line.gain**2
    found, count_error = float((variance - third).mean()), float((variance - third).std()) / math.sqrt(count)
    by_gain = abs(2 * float(variance.mean()) - 3 * float(third.mean())) * line.gain_error / line.gain
    return found, math.hypot(count_error, by_gain)
