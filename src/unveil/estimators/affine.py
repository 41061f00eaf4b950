"""Layers that commute with a change of contrast and brightness: layer(a h + mu 1) = a layer(h) + mu 1, a > 0, any mu.

Normalization equivariance by architecture (Herbreteau, Moebel and Kervrann 2023, https://arxiv.org/abs/2306.05037):

    affine convolution   w * h without bias, the taps of each output channel summing to one over all inputs:
                         w * (a h + mu 1) = a (w * h) + mu sum(w) = a (w * h) + mu
    affine sum           t h + (1 - t) u, the only combination of two such maps that is one again
    increment            h + z * u, the taps of z summing to zero: z * (a u + mu 1) = a (z * u), brightness drops out
    sort pooling         (max(h_i, h_j), min(h_i, h_j)): the order of two channels survives a > 0 and mu

An equivariant function of one channel alone is the identity, so ReLU has no counterpart: sorting is the
non-linearity. Zero padding would mix the number 0 with the image, whatever its brightness; edges are repeated instead.
Compositions of these layers have the property, hence so do whole networks.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unveil.errors import UnveilError

__all__ = ["AffineConv2d", "AffineSum", "SortPool"]


class AffineConv2d(nn.Module):
    """w * h with w = v - mean(v) + total/n: v (outputs, inputs, size, size) is free, n = inputs size^2, means over n.

    stride: 1 keeps the image's size, for odd `size`; otherwise it must equal `size`: disjoint blocks, no padding.
    total:  the sum of each output's taps: 1 for an equivariant layer, 0 for an increment to be added to one.
    With total 1, v starts at deviation 1 / sqrt(n), which keeps the deviation of white channels, as sort pooling does.
    With total 0 it starts at zero: the increment contributes nothing until it has learned to.
    Raises UnveilError for a size and stride that do not fit.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, total: int = 1) -> None:
        super().__init__()
        if stride not in (1, size) or (stride == 1 and size % 2 == 0):
            raise UnveilError(
                f"AffineConv2d has size {size} and stride {stride}: need an odd size with stride 1, or stride = size"
            )
        self.stride = stride
        self.padding = size // 2 if stride == 1 else 0
        self.total = total
        self.v = nn.Parameter(torch.zeros(outputs, inputs, size, size))
        if total:
            nn.init.normal_(self.v, std=1 / math.sqrt(inputs * size**2))

    @property
    def weight(self) -> Tensor:
        """The taps w (outputs, inputs, size, size): each output's sum to `total`, whatever v is."""
        return self.v - self.v.mean((1, 2, 3), keepdim=True) + self.total / self.v[0].numel()

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride) from h (B, inputs, H, W)."""
        if self.padding:
            h = F.pad(h, [self.padding] * 4, mode="replicate")
        return F.conv2d(h, self.weight, stride=self.stride)


class SortPool(nn.Module):
    """Channel i of the first half and channel i of the second, sorted.

    The larger goes into the first, the smaller into the second.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, C, H, W) from h (B, C, H, W), C even."""
        first, second = h.chunk(2, dim=1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], dim=1)


class AffineSum(nn.Module):
    """t h + (1 - t) u with one learned t for each channel, 1/2 at first: how a skip meets what it skipped."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, h: Tensor, u: Tensor) -> Tensor:
        """Return (B, channels, H, W) from h and u of that shape."""
        return u + self.t * (h - u)
