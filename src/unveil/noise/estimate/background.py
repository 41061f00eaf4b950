"""Divide the zero of a photon-transfer line into offset and read noise.

    var(y | u) = gain (u - zero),     zero = offset - read^2 / gain,     u >= offset

The line gives gain and zero. Any offset from zero to the darkest brightness u in the images fits it as well, with
read^2 = gain (offset - zero): the same variance everywhere, so little depends on it, but at few photons. Which one is
an assumption:

- "background": a share SHARE of the flat blocks are of one brightness, the darkest: no light falls there, and it is
  the offset, unless the read noise were then more than ELECTRONS photons, as few cameras' is;
- "zero": the offset is 0, as of counts and of images whose offset was subtracted, where 0 fits the line;
- "electron": else read noise is as small as that of today's cameras, one photon, read = gain.

The stated errors cover all that fits, half the way to the farther end, besides that of the line: where there is a
background, the read noise is that found there, or less.

The brightness of the darkest flat blocks is searched among those whose LOW frequencies hold no more than noise. A mode
of noise alone is as narrow as the means of 64 pixels are, s = (variance / 64)^{1/2}.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from unveil.noise.estimate.blocks import SIDE
from unveil.noise.estimate.line import TransferCurve, TransferLine
from unveil.noise.estimate.transfer import FEWEST, Blocks

__all__ = ["ELECTRONS", "LEAST_READ", "Division", "darkest_flat", "divide"]

SHARE, DISTINCT = 0.1, 4.0
"""The share of the flat blocks that are background, and how much denser these are than the next brighter ones."""
FLAT = 2.0
"""How much more energy than the noise's the LOW frequencies of a flat block have at most."""
ELECTRONS, LEAST_READ = 6.0, 0.05
"""Read noise in photons: more than a camera's, and less than any that could be seen."""


Assumed = Literal["background", "zero", "electron"]


class Division(NamedTuple):
    """Hold offset and read noise with standard errors, the bounds of the offset, and what is assumed."""

    offset: float
    offset_error: float
    read: float
    read_error: float
    bounds: tuple[float, float]
    assumed: Assumed


def divide(line: TransferLine, curve: TransferCurve, blocks: Blocks, zero: float) -> Division:
    """Return offset and read noise of a line. zero: the brightness that stands for the number 0 in the files."""
    gain, least = line.gain, line.zero + LEAST_READ**2 * line.gain
    darkest, scatter, is_background = darkest_flat(line.variance, curve, blocks)
    darkest = max(darkest, least)
    assumed: Assumed = "background"
    if is_background and darkest - line.zero < ELECTRONS**2 * gain:
        offset = darkest
    elif line.zero - 2 * line.zero_error < zero < darkest + scatter:
        offset, assumed = max(zero, least), "zero"
    else:
        offset, assumed = min(line.zero + gain, darkest), "electron"
    to_ends = max(offset - line.zero, darkest - offset) / 2
    offset_error = math.hypot(to_ends, scatter, line.zero_error)
    read, most = math.sqrt(gain * (offset - line.zero)), math.sqrt(gain * (darkest - line.zero))
    chance = line.error(offset)
    chance /= read + math.sqrt(read**2 + chance)  # of read, where that of its square is `chance`
    read_error = math.hypot(max(read, most - read) / 2, chance)
    return Division(offset, offset_error, read, read_error, (line.zero, darkest), assumed)


def darkest_flat(
    variance: Callable[[Tensor], Tensor], curve: TransferCurve, blocks: Blocks
) -> tuple[float, float, bool]:
    """Return the brightness of the darkest flat blocks, the scatter of their means, and if they are a background.

    variance: of the noise, by brightness.
    """
    dark = max(float(curve.variance[0]), 1e-3 * float(curve.variance.max()))
    flat = (blocks.low > 0) & (blocks.low < FLAT * variance(blocks.mean).clamp_min(dark / 2))
    mean = (blocks.mean[flat] if int(flat.sum()) >= FEWEST else blocks.mean).sort().values
    s = math.sqrt(dark) / SIDE
    darkest = float(mean[len(mean) // 100])
    for _ in range(20):
        darkest = float(mean[mean <= darkest + 2 * s].median())
    inner = int(((mean - darkest).abs() <= 2 * s).sum())
    outer = int(((mean > darkest + 2 * s) & (mean <= darkest + 6 * s)).sum())
    return darkest, s, inner >= SHARE * len(mean) and inner >= DISTINCT * outer
