"""Maps of a detector from its calibration frames: offset, read noise and gain of each pixel, each with its error.

A few frames tell each pixel little, but all pixels together tell how much pixels differ, and that is what a pixel's own
figure is worth (empirical Bayes). With n dark frames d, of mean d_i and variance s_i^2 in pixel i,

    offset     o_i = o + b (d_i - o),          b = T^2 / (T^2 + s^2 / n),    T^2 the spread of true offsets, s^2 usual
    variance   r_i^2 = (k0 s0^2 + (n - 1) s_i^2) / (k0 + n - 1)

k0 and s0^2 from the first two moments of log s_i^2 (Smyth 2004, https://doi.org/10.2202/1544-6115.1027): the true
variances follow an inverse gamma law, whose long tail holds most hot pixels. What is FAR off in offset, or HOT times as
noisy, is left as it is (limited translation: Efron and Morris 1972, https://doi.org/10.1080/01621459.1972.10481215).
s_i^2 is unbiased, and so is r_i^2 in the mean over the pixels; its root is taken at the end.

Of m frames of even light, at one or several brightnesses j, pixel i has the mean x_ij over its offset and the variance
v_ij, which is g_i x_ij + r_i^2. The slope by least squares and what it is worth:

    g^_i = sum_j w_j x_ij (v_ij - r_i^2) / sum_j w_j x_ij^2,     w_j = (m_j - 1) / (2 V_j^2),  V_j the mean of v_ij
    e^2 = 1 / sum_j w_j x_j^2,     g_i = g + b (g^_i - g),     b = T^2 / (T^2 + e^2)

(weights: the variance of a variance of Gaussian noise; per-pixel slopes as in Huang et al. 2013,
https://doi.org/10.1038/nmeth.2488). 100 flats tell a pixel's slope to 14%, and its mean over the offset, which is what
a pattern of gains does to images, to a thousandth. A pixel's mean over that of the REACH pixels around it, which the
lamp lights alike, is its gain over the common one where the slopes say so: where their regression on these means is
above AGREE, beyond CHANCE errors (1 of gains; 0 of what else is uneven, a scene in the flats say). Else the slopes
serve, as far as they show what pixels differ by, and else one number.

Measured on simulated cameras (100 x 100 pixels, gain 10% from pixel to pixel, read noise of lognormal .5 with 1% hot
pixels, 20 flats at each of two brightnesses, 10 draws each): with 4, 8, 20 and 100 darks the read noise is .70, .88,
.97 and 1.00 times as far off (in its logarithm) as without the others, and 68% of the pixels are within 1.27, 1.16,
1.08 and 1.04 times its stated error, within 1.19 to 1.03 times that of the offset, and 1.03 to 1.07 that of the gain.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.noise.estimate.frames import levels_of

__all__ = ["PixelMap", "gain_map", "offset_map", "pixel_maps", "read_map"]

FEWEST = 4
"""Dark frames: fewer tell nothing of single pixels."""
FAR = 4.0
CHANCE = 4.0
AGREE, MOST = 0.5, 0.5
REACH = 7
LEAST = 0.05
"""Of the root of the mean variance: what the deviation of a pixel is at least, whose values never change."""
HOT = 30.0
"""Times the common variance, from which a pixel's own is not doubted."""


class PixelMap(NamedTuple):
    """Hold a parameter of each pixel (C, H, W), and its standard error, that of the middle pixel."""

    values: Tensor
    error: float


def pixel_maps(darks: Tensor, flats: Tensor | None, gain: float) -> dict[str, PixelMap]:
    """Return the maps, by the parameter's name, that dark frames and flats (n, C, H, W), n >= 2, tell, in their units.

    gain: the common one. A parameter has none in which pixels are not seen to differ.
    """
    if len(darks) < FEWEST:
        return {}
    darks = darks.double()
    offset, read, slope = offset_map(darks), read_map(darks), None
    if flats is not None:
        own_offset = darks.mean(0) if offset is None else offset.values
        own_read = darks.var(0).mean().sqrt().expand_as(own_offset) if read is None else read.values
        slope = gain_map(levels_of(flats, float(own_offset.median())), own_offset, own_read, gain)
    found = {"gain": slope, "read": read, "offset": offset}
    return {name: values for name, values in found.items() if values is not None}


def offset_map(darks: Tensor) -> PixelMap | None:
    """Return the offsets, of dark frames (n, C, H, W), n >= 2, in their units; None where pixels do not differ."""
    mean, variance = darks.mean(0), darks.var(0) / len(darks)
    centre = mean.median()
    near = (mean - centre).square() < FAR**2 * (variance + _scale(mean - centre) ** 2)
    spread = mean[near].var() - variance[near].mean()
    by_chance = float((mean[near] - centre).square().std()) / math.sqrt(int(near.sum()))
    if not float(spread) > CHANCE * by_chance:
        return None
    usual = variance.median()  # a hot pixel's own would draw it to the others, of which it is none
    share = spread / (spread + usual)
    return PixelMap(torch.where(near, centre + share * (mean - centre), mean), float((share * usual).sqrt()))


def read_map(darks: Tensor) -> PixelMap | None:
    """Return the read noise, deviations > 0, of dark frames (n, C, H, W), n >= 2, in their units.

    None where pixels do not differ, and of frames without noise.
    """
    variance, own = darks.var(0), len(darks) - 1
    typical = float(variance.mean())
    if not typical > 0:
        return None
    variance = variance.clamp_min(LEAST**2 * typical)
    logs = variance.log()
    half = torch.tensor(own / 2, dtype=torch.float64)
    by_chance = float(torch.polygamma(1, half))
    more = float(logs.var()) - by_chance
    if not more > CHANCE * by_chance * math.sqrt(4 / logs.numel()):
        return None
    prior = 2 * _inverse_trigamma(more)
    e = logs.mean() - torch.digamma(half) + half.log()
    prior_half = torch.tensor(prior / 2, dtype=torch.float64)
    common = (e + torch.digamma(prior_half) - prior_half.log()).exp()
    found = torch.where(variance > HOT * common, variance, (prior * common + own * variance) / (prior + own)).sqrt()
    return PixelMap(found, float(found.median()) / math.sqrt(2 * (prior + own)))


def gain_map(flats: Sequence[Tensor], offset: Tensor, read: Tensor, gain: float) -> PixelMap | None:
    """Return the gain of each pixel, > 0; None where the flats do not tell that pixels differ.

    flats: (m_j, C, H, W) of each brightness. offset, read: (C, H, W). gain: the common one, for the weights.
    """
    top = max(float(group.max()) for group in flats)
    above, below, light, noise = (torch.zeros_like(offset) for _ in range(4))
    for group in flats:
        x, v = group.mean(0) - offset, group.var(0)
        common = (gain * x + read**2).clamp_min(float(read.median()) ** 2)
        w = torch.where((group < top).all(0) & (x > 0), (len(group) - 1) / (2 * common**2), 0.0)
        above, below = above + w * x * (v - read**2), below + w * x.square()
        light, noise = light + len(group) * x, noise + len(group) * v
    seen = below > 0
    if int(seen.sum()) < 2:
        return None
    slope, error = above[seen] / below[seen], 1 / below[seen]
    middle = float((slope / error).sum() / (1 / error).sum())
    response = (light / _around(light))[seen]
    if _is_gain(slope / middle, error / middle**2, response):
        values = middle * torch.where(seen, light / _around(light), 1.0)
        by_chance, others = float((noise[seen].sqrt() / light[seen]).median()), float(_scale(response - 1))
        return PixelMap(values.clamp_min(middle / 10), middle * math.hypot(by_chance, others / (2 * REACH + 1)))
    kept = (slope - middle).square() < FAR**2 * (error + _scale(slope - middle) ** 2)
    spread = float(slope[kept].var() - error[kept].mean())
    if not spread > CHANCE * float(error[kept].mean()) * math.sqrt(2 / int(kept.sum())):
        return None
    share = spread / (spread + error)
    values = torch.full_like(offset, middle)
    values[seen] = middle + share * (slope - middle)
    return PixelMap(values.clamp_min(middle / 10), float((share * error).median().sqrt()))


def _is_gain(slope: Tensor, error: Tensor, response: Tensor) -> bool:
    """Return whether relative responses (N,) differ as the gains do: slope, error: of these, and its variance."""
    r = (response - 1).clamp(-MOST, MOST)
    w = 1 / error
    spread = (w * r.square()).sum()
    share = float((w * r * (slope - 1)).sum() / spread)
    return share - CHANCE / math.sqrt(float(spread)) > AGREE


def _around(light: Tensor) -> Tensor:
    """Return the mean of light (C, H, W) around each pixel, far-off pixels cut: how uneven the lamp is."""
    middle = light.median()
    near = light.clamp((1 - MOST) * middle, (1 + MOST) * middle)
    return avg_pool2d(near[None], 2 * REACH + 1, 1, REACH, count_include_pad=False)[0]


def _scale(x: Tensor) -> Tensor:
    """Return the deviation of x about 0, from the middle half of the values."""
    return 1.4826 * x.abs().median()


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 of trigamma(x) = value > 0, by Newton's method on its reciprocal, which is convex (Smyth 2004)."""
    x = torch.tensor(0.5 + 1 / value, dtype=torch.float64)
    for _ in range(50):
        there = torch.polygamma(1, x)
        step = there * (1 - there / value) / torch.polygamma(2, x)
        x = x + step
        if abs(float(step)) < 1e-10 * float(x):
            break
    return float(x)
