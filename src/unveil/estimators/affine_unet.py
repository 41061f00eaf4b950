"""A UNet that is normalization equivariant by architecture: f(a y + mu 1, a sigma) = a f(y, sigma) + mu 1, exactly.

All its layers are those of `affine`. The noise level comes in as channels that follow the same rule,

    y, y + sigma, y - sigma:      a y + mu 1 +- a sigma = a (y +- sigma) + mu 1

so the network is equivariant in (y, sigma) together, with no statistics of y: unlike the wrapper's, its output at a
pixel depends on its surroundings alone, and a crop or a tile is treated like the whole image. Differences of these
channels are multiples of sigma, the thresholds of what is noise (Herbreteau et al. 2023,
https://arxiv.org/abs/2306.05037, train one blind network; the level as a channel is ours). The output is

    f(y, sigma) = y + z * sort(h),     h the last features, the taps of z summing to zero and zero at first,

the identity before training. As t y + (1 - t) (w * sort(h)), t = 1/2, it learned more slowly: the branch has first to
find the image that is already in y.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.estimators.affine import AffineConv2d, AffineSum, SortPool
from unveil.measurement import Measurement
from unveil.shapes import expand

__all__ = ["AffineUNet"]


class AffineBlock(nn.Module):
    """h + z * sort(w * sort(h)), the taps of z summing to zero; the identity at initialisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            SortPool(), AffineConv2d(channels, channels, 3), SortPool(), AffineConv2d(channels, channels, 3, total=0)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class AffineUNet(nn.Module):
    """f(m) -> x_hat for images of any size and channel count, A = I; needs neither preconditioning nor a wrapper.

    channels: image channels (2 for complex images).
    widths:   feature channels at each resolution, finest first, all even; the image is halved between two of them.
    blocks:   residual blocks at each resolution of the encoder, and again of the decoder.
    Raises UnveilError for an odd width.
    """

    def __init__(self, channels: int = 1, widths: Sequence[int] = (32, 48, 64), blocks: int = 1) -> None:
        super().__init__()
        if odd := [w for w in widths if w % 2]:
            raise UnveilError(f"estimator.widths has {odd[0]}: channels are sorted in pairs here, give even widths")
        self.stride = 2 ** (len(widths) - 1)
        self.stem = AffineConv2d(3 * channels, widths[0], 3)
        self.encoder = nn.ModuleList(_level(w, blocks) for w in widths)
        self.down = nn.ModuleList(AffineConv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(AffineConv2d(b, 4 * a, 1), nn.PixelShuffle(2)) for a, b in pairwise(widths)
        )
        self.skip = nn.ModuleList(AffineSum(w) for w in widths[:-1])
        self.decoder = nn.ModuleList(_level(w, blocks) for w in widths[:-1])
        self.head = nn.Sequential(SortPool(), AffineConv2d(widths[0], channels, 3, total=0))
        self.to(memory_format=torch.channels_last)

    def forward(self, m: Measurement) -> Tensor:
        """Return x_hat (B, channels, H, W) of the measurement m, y (B, channels, H, W)."""
        y, s = m.y, expand(m.level, m.y)
        height, width = y.shape[-2:]
        pad = (0, -width % self.stride, 0, -height % self.stride)
        h = F.pad(y, pad, mode="replicate") if any(pad) else y
        h = torch.cat([h, h + s, h - s], dim=1).to(next(self.parameters()).dtype)
        h = self.stem(h.contiguous(memory_format=torch.channels_last))
        skips = []
        for level, down in zip(self.encoder, self.down):
            h = level(h)
            skips.append(h)
            h = down(h)
        h = self.encoder[-1](h)
        for level, up, skip in zip(reversed(self.decoder), reversed(self.up), reversed(self.skip)):
            h = level(skip(skips.pop(), up(h)))
        return y + self.head(h)[..., :height, :width].to(y.dtype)


def _level(channels: int, blocks: int) -> nn.Sequential:
    """Make the residual blocks at one resolution."""
    return nn.Sequential(*(AffineBlock(channels) for _ in range(blocks)))
