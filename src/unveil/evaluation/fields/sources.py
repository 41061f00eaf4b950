"""Points of light in an image: beads, stars, molecules; and what lies within an aperture about each.

A source stands out of the ring about it by FOUND deviations in a sum that is weighted by a spot of deviation SPOT
pixels. The deviation is what the noise says, or what the image shows by its quietest half, whichever is more: a
textured image has few sources. None of eight parts of a nearer ring may hold half as much an area as the middle, or the
light is that of a line, an edge or a neighbour. What is found so is found by `skimage.feature.peak_local_max`.
"""

import math

import torch
from torch import Tensor

from unveil.measurement import Measurement

__all__ = ["LEAST", "aperture_sums", "find_sources"]

APERTURE, INNER, OUTER = 5.0, 7.0, 10.0
"""Pixels: the radius of the aperture, and of the ring about it whose mean is the background."""
LEAST = 4 * int(OUTER)
"""Pixels, the sides of an image that is looked at."""
SPOT = 1.5
"""Pixels."""
FOUND = 4.5
NEAR = (3.5, 6.5)
"""Pixels, the radii of the nearer ring."""
PARTS = 8
HALF = 0.5


def aperture_sums(x: Tensor, where: Tensor) -> Tensor:
    """Return the sums (N,) in apertures about `where` (N, 2) of an image x (1, C, H, W), their backgrounds taken off.

    All channels together, in the units of x times pixels.
    """
    distance, _ = _grid()
    kernel = (distance <= APERTURE).double()
    return torch.einsum("nij,ij->n", _patches(x, where), kernel - kernel.sum() * _ring())


def find_sources(m: Measurement) -> Tensor:
    """Return rows and columns (N, 2) of the sources in an image m (1, C, H, W), N >= 0, on the CPU."""
    from skimage.feature import peak_local_max

    distance, angle = _grid()
    spot = torch.exp(-0.5 * (distance / SPOT) ** 2) * (distance < INNER)
    kernel = spot / spot.sum() - _ring()
    signal = _filtered(m.y, kernel)
    noise = _filtered(m.noise.estimated_variance(m.y).clamp_min(0), kernel.square()).clamp_min(0).sqrt()
    off = (signal - signal.median()).abs().flatten()
    shown = off.kthvalue(len(off) // 4).values / 0.3186  # a Gaussian's, in deviations
    peaks = peak_local_max(
        (signal / torch.maximum(noise, shown).clamp_min(1e-30)).numpy(), min_distance=int(APERTURE),
        threshold_abs=FOUND, exclude_border=int(OUTER),
    )  # fmt: skip
    where = torch.from_numpy(peaks.copy()).long()
    core = (distance <= SPOT).double()
    parts = [  # each, and those between them
        (distance > NEAR[0]) & (distance <= NEAR[1]) & ((angle * PARTS / (2 * math.pi) - k / 2) % PARTS < 1)
        for k in range(2 * PARTS)
    ]
    kernels = torch.stack([area.double() / area.sum() - _ring() for area in (core, *parts)])
    sums = torch.einsum("nij,kij->nk", _patches(m.y, where), kernels)
    se = noise[where[:, 0], where[:, 1], None] * kernels[1:].flatten(1).norm(dim=1) / kernel.norm()
    alone = (sums[:, :1] > 0) & (sums[:, 1:] < HALF * sums[:, :1] + 3 * se)
    return where[alone.all(1)]


def _grid() -> tuple[Tensor, Tensor]:
    """Return the distance and the angle, in [0, 2 pi), of each pixel of a kernel from its middle."""
    side = torch.arange(-OUTER, OUTER + 1, dtype=torch.double)
    return torch.hypot(side[:, None], side), torch.atan2(side[:, None], side) % (2 * math.pi)


def _ring() -> Tensor:
    distance, _ = _grid()
    ring = ((distance > INNER) & (distance <= OUTER)).double()
    return ring / ring.sum()


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Return the image (H, W) of sums over all channels of x (1, C, H, W), each pixel's neighbours weighted."""
    from scipy.signal import oaconvolve  # scipy comes with scikit-image

    together = x[0].detach().double().cpu().sum(0)
    return torch.from_numpy(oaconvolve(together.numpy(), kernel.numpy(), mode="same"))


def _patches(x: Tensor, where: Tensor) -> Tensor:
    """Return what is about `where` (N, 2), none nearer to the edge than OUTER: (N, side, side), all channels' sum."""
    together, reach = x[0].detach().double().cpu().sum(0), int(OUTER)
    side = 2 * reach + 1
    cut = [together[r - reach : r + reach + 1, c - reach : c + reach + 1] for r, c in where.tolist()]
    return torch.stack(cut) if cut else together.new_zeros(0, side, side)
