"""Stationary noise of the plane: white noise convolved with a kernel g of unit norm.

    n = g * w,     E[n(p) n(p + d)] = r(d) = sum_q g(q) g(q + d),     r(0) = 1

A window of it is a window of a torus that is larger by the kernel's sides less 1: no lag within the window is as long
as what is left of the way around. Means over k x k pixels have the autocovariance

    r_k(d) = sum_a c(a) r(k d + a) / k^4,     c(a) = (k - |a_1|)_+ (k - |a_2|)_+

and their kernel is the symmetric square root of it, cut to a size at which what is left out is no matter.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unveil.random import normal

__all__ = ["autocovariance", "coarser_kernel", "draw_stationary", "root_kernel"]

LEAST = 5
"""Sides of a coarser kernel: its root reaches farther than the noise does."""


def draw_stationary(kernel: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw g * w with the shape, dtype and device of `like` (B, C, H, W); kernel: g (1 or B, h, w)."""
    g = kernel.to(like)
    if g.shape[-2:] == (1, 1):
        return g[:, None].sign() * normal(like, generator)
    height, width = (side + extent - 1 for side, extent in zip(like.shape[-2:], g.shape[-2:]))
    w = normal(like.new_empty(*like.shape[:-2], height, width), generator)
    transfer = torch.fft.rfft2(g[:, None], s=(height, width))
    drawn = torch.fft.irfft2(torch.fft.rfft2(w) * transfer, s=(height, width))
    return drawn[..., : like.shape[-2], : like.shape[-1]]


def autocovariance(kernel: Tensor) -> Tensor:
    """Return r (..., 2 h - 1, 2 w - 1) of kernels g (..., h, w), lag 0 in the middle."""
    h, w = kernel.shape[-2:]
    power = torch.fft.rfft2(kernel, s=(2 * h - 1, 2 * w - 1)).abs().square()
    r: Tensor = torch.fft.fftshift(torch.fft.irfft2(power, s=(2 * h - 1, 2 * w - 1)), dim=(-2, -1))
    return r


def root_kernel(r: Tensor, height: int, width: int) -> Tensor:
    """Return g (..., height, width), odd sides, of unit norm, whose autocovariance is about r (..., odd, odd) / r(0).

    The symmetric square root; lag 0 of r is in the middle.
    """
    h, w = (4 * max(side, other) + 1 for side, other in zip(r.shape[-2:], (height, width)))
    down, across = (h - r.shape[-2]) // 2, (w - r.shape[-1]) // 2
    wide = torch.fft.ifftshift(F.pad(r, (across, across, down, down)), dim=(-2, -1))
    root = torch.fft.rfft2(wide).real.clamp_min(0).sqrt().to(torch.complex128)
    g = torch.fft.fftshift(torch.fft.irfft2(root, s=(h, w)), dim=(-2, -1))
    top, left = (h - height) // 2, (w - width) // 2
    g = g[..., top : top + height, left : left + width]
    return g / g.square().sum((-2, -1), keepdim=True).sqrt()


def coarser_kernel(kernel: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the kernel (..., odd, odd) of means over k x k pixels, and their variance (...); kernel: (..., h, w)."""
    r = autocovariance(kernel.double())
    ramp = (k - torch.arange(1 - k, k, device=r.device).abs()).to(r) / k**2
    shape = r.shape[-2:]
    mixed = F.conv2d(F.pad(r.reshape(-1, 1, *shape), (2 * k - 2,) * 4), torch.outer(ramp, ramp)[None, None])
    mixed = F.pad(mixed, tuple(-(side // 2) % k for side in (mixed.shape[-1],) * 2 + (mixed.shape[-2],) * 2))
    coarse = mixed[..., ::k, ::k]
    coarse = coarse.reshape(*r.shape[:-2], *coarse.shape[-2:])
    middle = coarse[..., coarse.shape[-2] // 2, coarse.shape[-1] // 2]
    h, w = (min(side + (side + 1) % 2, 2 * (other // 2) + 1) for side, other in zip(kernel.shape[-2:], shape))
    return root_kernel(coarse, max(h, LEAST), max(w, LEAST)).to(kernel), middle.to(kernel)
