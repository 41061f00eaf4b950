"""The DCT of blocks of 8 x 8 pixels: white noise is alike in all of it, and structure is not.

An orthonormal transform leaves white noise white: whatever is decided by looking at the coefficients of LOW
frequencies, those of MID and HIGH hold noise of one variance wherever the image has no detail as fine. Detail is
stronger in MID than in HIGH.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from unveil.noise.estimate.level import dct

__all__ = ["HIGH", "LOW", "MID", "SIDE", "coefficients", "median_variance"]

SIDE = 8
_ORDER = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)).flatten()  # u + v of frequency (u, v)
LOW, MID, HIGH = (_ORDER > 0) & (_ORDER < 7), (_ORDER >= 7) & (_ORDER < 10), _ORDER >= 10
"""27, 21 and 15 of the 64 coefficients."""


def coefficients(image: Tensor, stride: int = SIDE) -> Tensor:
    """Return the coefficients (64, C, blocks) of the blocks of `image` (C, H, W), a block at every `stride`-th pixel.

    The first one is that of the constant: SIDE times the block's mean.
    """
    matrix = dct(SIDE)
    kernels = torch.einsum("ui,vj->uvij", matrix, matrix).reshape(SIDE**2, 1, SIDE, SIDE)
    image = image.double()
    mean = image.mean()
    z = conv2d((image - mean)[:, None], kernels, stride=stride).flatten(2).movedim(1, 0)
    z[0] += SIDE * mean
    return z


def median_variance(squares: Tensor) -> float:
    """Return the variance of noise from the squares (K, blocks) of K coefficients, robust to blocks with structure."""
    k = len(squares)
    return float(squares.mean(0).median()) / (1 - 2 / (9 * k)) ** 3 if squares.shape[1] else math.nan
