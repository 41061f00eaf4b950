"""Does the variance of correlated noise grow with brightness? Its photon-transfer curve, in coefficients made white.

Of a block's coefficients those count that have STRONG of the noise's variance or more, each over the variance that it
has in the noise found (`unveil.noise.estimate.spectrum`): the half of lowest frequency tells how much structure there
is, the highest quarter the noise, and that between how much structure is left in it (`unveil.noise.estimate.transfer`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import SIDE, coefficients
from unveil.noise.estimate.level import dct
from unveil.noise.estimate.line import TransferCurve
from unveil.noise.estimate.transfer import Blocks, curve_of

__all__ = ["coloured_curve"]

STRONG = 0.1
STRIDE = 4
"""Of the blocks, in pixels."""


def coloured_curve(images: Sequence[Tensor], correlation: Tensor) -> TransferCurve:
    """Return variance against brightness of the noise of `images` (C, H, W), correlated as (64, 64) says in a block."""
    matrix = dct(SIDE)
    basis = torch.einsum("ui,vj->uvij", matrix, matrix).reshape(SIDE**2, SIDE**2)
    power = ((basis @ correlation) * basis).sum(1)
    order = torch.arange(SIDE)[:, None].square() + torch.arange(SIDE).square()
    strong = [k for k in order.flatten().argsort(stable=True).tolist() if k and power[k] > STRONG]
    ends = (len(strong) // 2, 3 * len(strong) // 4)
    bands = strong[: ends[0]], strong[ends[0] : ends[1]], strong[ends[1] :]
    parts = []
    for image in images:
        if min(image.shape[1:]) >= SIDE:
            z = coefficients(image, STRIDE).flatten(1)
            parts.append([z[0] / SIDE, *((z[band].square() / power[band, None]).mean(0) for band in bands)])
    mean, low, mid, high = (torch.cat(part) for part in zip(*parts))
    return curve_of(Blocks(mean, low, mid, high, STRIDE**2 / SIDE**2))
