"""Does an estimate keep intensities? Sums over blocks of it, against those of the measurement, which are unbiased.

    slope = cov(h_b, u_b) / var(u_b),      offset = mean(h - y)

over blocks b of BLOCK x BLOCK pixels: 1 and 0 where a star, a bead or a band keeps its flux. u is not known, and y_b
has noise of its own; h_b follows part of it. Both are taken off:

    cov(h_b, u_b) = cov(h_b, y_b) - E n_b h_b,      var(u_b) = var(y_b) - E n_b^2

The first by the probes that tell the error (`unveil.evaluation.risk`), the second by the noise family. An error in the
variable that is regressed on, and its correction, are old (Fuller 1987, https://doi.org/10.1002/9780470316665). The
standard error is from the scatter of the blocks about the line.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.evaluation.risk import BLOCK, Risk
from unveil.measurement import Measurement

__all__ = ["Blocks", "block_sums", "flux_record"]

FEWEST = 16
"""Blocks, below which nothing is said."""
POINTS = 300
RESOLVED = 0.5
"""The share of the variance of y_b that is not noise, below which there is no slope."""


class Blocks(NamedTuple):
    """Means over the blocks of an image, (N,) each, on the CPU.

    y, h: of the measurement and the estimate. noise, shared: E n_b^2 and E n_b h_b. offset, variance: the mean of h - y
    over the image, and the variance of that of y.
    """

    y: Tensor
    h: Tensor
    noise: Tensor
    shared: Tensor
    offset: float
    variance: float


def block_sums(m: Measurement, x_hat: Tensor, risk: Risk) -> Blocks | None:
    """Return the block means of an image m (1, C, H, W), seen whole, and its estimate; None of one too small."""
    if risk.shared is None:
        return None
    y, h = (avg_pool2d(part, BLOCK).flatten().double().cpu() for part in (m.y, x_hat))
    if m.noise.white:
        noise = avg_pool2d(m.noise.estimated_variance(m.y), BLOCK).flatten().double().cpu() / BLOCK**2
    else:  # alike everywhere
        r = torch.zeros_like(m.y)
        r[..., :BLOCK, :BLOCK] = 1 / (BLOCK**2 * m.y.shape[1])
        noise = (m.noise.sum_variance(r, x_hat) * m.y.shape[1]).double().cpu().expand(len(y))
    even = torch.full_like(m.y, 1 / m.y[0].numel())
    variance = float(m.noise.sum_variance(even, x_hat))
    return Blocks(y, h, noise, risk.shared.flatten().double().cpu(), float((x_hat - m.y).mean()), variance)


def flux_record(seen: Sequence[Blocks]) -> dict[str, Any] | None:
    """Return the slope and the offset of all images, for JSON; None of too few blocks, or blocks that are all alike."""
    if not seen:
        return None
    y, h, noise, shared = (torch.cat(parts) for parts in zip(*((one.y, one.h, one.noise, one.shared) for one in seen)))
    n = len(y)
    if n < FEWEST:
        return None
    dy, dh = y - y.mean(), h - h.mean()
    varied = float(dy.square().mean() - noise.mean())
    if not varied > RESOLVED * float(dy.square().mean()):
        return None
    slope = float((dy * dh).mean() - shared.mean()) / varied
    each = dy * dh - shared - slope * (dy.square() - noise)
    se = float(each.std()) / math.sqrt(n) / varied
    which = range(0, n, -(-n // POINTS))
    return {
        "slope": slope,
        "se": se,
        "offset": sum(one.offset for one in seen) / len(seen),
        "offset_se": math.sqrt(sum(one.variance for one in seen)) / len(seen),
        "block": BLOCK,
        "points": [[float(y[i]), float(h[i])] for i in which],
    }
