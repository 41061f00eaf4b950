"""A small UNet g(x, c) of any image size and channel count (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597).

No normalization layers: they would couple the samples of a batch (batch norm), which biases the Monte Carlo
divergence, or the pixels of an image through statistics that change with the crop (group and instance norm). Each
residual block is instead scaled and shifted by the noise level (Perez et al. 2018, https://arxiv.org/abs/1709.07871).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UNet"]


class ResidualBlock(nn.Module):
    """h + W_2 silu(gain(c) * W_1 silu(h) + bias(c)); the identity at initialisation."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = _zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulate = nn.Linear(embedding, 2 * channels)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        gain, bias = self.modulate(e)[:, :, None, None].chunk(2, dim=1)
        u = self.conv1(F.silu(h)) * (1 + gain) + bias
        return h + self.conv2(F.silu(u))


class Level(nn.Module):
    """The residual blocks at one resolution."""

    def __init__(self, blocks: int, channels: int, embedding: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, embedding) for _ in range(blocks))

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        for block in self.blocks:
            h = block(h, e)
        return h


class UNet(nn.Module):
    """g(x, c): x (B, channels, H, W) of unit variance, c (B,) a log noise level -> (B, out_channels, H, W).

    channels: of the input: the image's (2 for complex images), and what else the network is shown.
    out_channels: of the output; None: as many.
    widths:   feature channels at each resolution, finest first; the image is halved between two of them.
    blocks:   residual blocks at each resolution of the encoder, and again of the decoder.
    levels:   how many noise levels it is told; c is (B, levels) where there are several.
    """

    def __init__(
        self, channels: int = 1, widths: Sequence[int] = (32, 48, 64), blocks: int = 1, out_channels: int | None = None,
        levels: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        embedding = 2 * widths[0]
        self.frequencies: Tensor
        self.register_buffer("frequencies", 2.0 ** torch.arange(4), persistent=False)
        self.embed = nn.Sequential(
            nn.Linear(9 * levels, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(Level(blocks, w, embedding) for w in widths)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(Level(blocks, w, embedding) for w in widths[:-1])
        self.head = _zeroed(nn.Conv2d(widths[0], out_channels or channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x, c = x.to(self.stem.weight.dtype), c.to(self.stem.weight.dtype)  # of float64 the network's part is float32
        pad = (0, -width % self.stride, 0, -height % self.stride)
        h = F.pad(x, pad, mode="replicate") if any(pad) else x
        e = self.embedding(c)
        h = self.stem(h.contiguous(memory_format=torch.channels_last))
        skips = []
        for level, down in zip(self.encoder, self.down):
            h = level(h, e)
            skips.append(h)
            h = down(h)
        h = self.encoder[-1](h, e)
        for level, up in zip(reversed(self.decoder), reversed(self.up)):
            h = level(up(h) + skips.pop(), e)
        return self.head(F.silu(h))[..., :height, :width]

    def embedding(self, c: Tensor) -> Tensor:
        """Return features (B, embedding) of the log levels c (B,) or (B, levels), smooth, fine enough to part them."""
        c = c.reshape(len(c), -1)
        phase = (c[..., None] * self.frequencies).flatten(1)
        return self.embed(torch.cat([c, phase.sin(), phase.cos()], dim=1))


def _zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """Set weights and biases of `conv` to zero: it contributes nothing until it has learned to."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv
