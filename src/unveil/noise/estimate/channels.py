"""Is the noise of the channels independent? In a grey image saved as RGB it is the same noise three times.

In blocks with least structure, with z_a and z_b the coefficients of two channels over their levels,

    correlation r = (v_+ - v_-) / (v_+ + v_-),     v_+- = E (z_a +- z_b)^2 / 2,

of HIGH frequencies, each v a mean that some blocks with structure do not spoil (`unveil.noise.estimate.transfer`).
Structure correlates as well. It is stronger in MID frequencies, and in blocks that are less quiet: what r differs by
there, and the share by which MID is stronger than HIGH, of r, count as errors beside chance. Of SHARES of the blocks
that one is looked at whose error is least. Noise is told to correlate where |r| is more than LEAST beyond Z errors, or
beyond SAME whatever they are: noise that resampling or compression has blurred is stronger in MID too.

The thresholds were chosen on 25 colour photographs of 260 to 510 pixels a side in noise of level .01 to .3 and of 100
photons at white; of others (benchmarks/channels_check.py) independent noise is told to correlate in 3 of 140 sets, all
at .01, noise that correlates by .3 is told in 136 of 140, and by .2 in 131.
"""

from collections.abc import Iterable
from itertools import combinations
from math import hypot
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, LOW, MID, SIDE, coefficients
from unveil.noise.estimate.transfer import robust_mean

__all__ = ["SAME", "ChannelPair", "channel_correlation", "dependent_channels"]

Z, LEAST, SAME = 3.0, 0.12, 0.6
ALIKE = 0.1
QUIET, SHARES = 0.5, (0.02, 0.05, 0.1, 0.25, 0.5)
"""The share of an image's blocks that is kept, and those of all, with least structure, that are looked at."""
FEWEST, MOST = 40, 400_000
"""The least number of blocks, and about the largest times that of pairs of channels."""
ROUNDING = 1e-9
"""Of the mean energy, under which there is none."""


class ChannelPair(NamedTuple):
    """Two channels, numbered from 0, whose noise correlates; copies: they show the same, too, up to a factor.

    correlation: of their noise, -1 to 1. error: of it, what structure may add included.
    """

    channels: tuple[int, int]
    correlation: float
    error: float
    copies: bool

    @property
    def told(self) -> bool:
        """Return whether the noise correlates, beyond what chance and structure do."""
        return abs(self.correlation) > min(LEAST + Z * self.error, SAME)


def dependent_channels(images: Iterable[Tensor]) -> ChannelPair | None:
    """Return the pair of channels whose noise correlates most over `images` (C, H, W), or None where no pair's does."""
    found = [pair for pair in _pairs(images) if pair.told]
    return max(found, key=lambda pair: abs(pair.correlation)) if found else None


def channel_correlation(images: Iterable[Tensor]) -> Tensor:
    """Return the correlation (C, C), in float64, of the noise of the channels of `images` (C, H, W), C > 1.

    The nearest that is one, where all pairs together are none.
    """
    pairs = _pairs(images)
    c = 1 + max(pair.channels[1] for pair in pairs)
    found = torch.eye(c, dtype=torch.float64)
    for pair in pairs:
        a, b = pair.channels
        found[a, b] = found[b, a] = pair.correlation
    values, vectors = torch.linalg.eigh(found)
    found = vectors * values.clamp_min(1e-3) @ vectors.T
    scale = found.diagonal().sqrt()
    return found / scale / scale[:, None]


def _pairs(images: Iterable[Tensor]) -> list[ChannelPair]:
    fine: list[Tensor] = []  # (K, C, n): MID and HIGH coefficients of the quieter blocks
    low: list[Tensor] = []  # (C, n): the mean squares of their LOW ones
    rough: list[Tensor] = []  # (C, C): sums of products of the deviations from the mean
    for image in images:
        if len(image) < 2 or min(image.shape[1:]) < SIDE:
            continue
        z = coefficients(image)
        energy = z[LOW].square().mean(0)
        kept = _quietest(energy)[: max(FEWEST, round(QUIET * energy.shape[1]))]
        fine.append(z[MID | HIGH][:, :, kept])
        low.append(energy[:, kept])
        deviation = (image.double() - image.double().mean((1, 2), keepdim=True)).flatten(1)
        rough.append(deviation @ deviation.T)
    if not fine:
        return []
    blocks, energy, products = torch.cat(fine, 2), torch.cat(low, 1), sum(rough)
    order, found = _quietest(energy), []
    for pair in combinations(range(len(energy)), 2):
        two = blocks[:, list(pair)][:, :, order]
        power = two.square().mean(1)
        two = two[:, :, (power > ROUNDING * power.mean(1, keepdim=True)).all(0)]  # in empty parts there is no noise
        step = -(-two.shape[2] * len(energy) ** 2 // (2 * MOST))
        similarity = _cosine(torch.as_tensor(products), *pair)
        # deviations a and b of length one: |a - b|^2 = 2 (1 - similarity)
        copies = 2 * (1 - similarity) < ALIKE**2
        if two.shape[2] >= FEWEST:
            found.append(ChannelPair(pair, *_noise(two[:, :, :: max(1, step)].transpose(0, 1)), copies))
        elif copies:
            found.append(ChannelPair(pair, similarity, 0.0, copies))
    return found


def _quietest(energy: Tensor) -> Tensor:
    """Return the numbers of the blocks (n,) by the most that one channel has of energies (C, n), the least first."""
    return (energy / energy.median(1, keepdim=True).values.clamp_min(1e-300)).amax(0).argsort()


def _noise(two: Tensor) -> tuple[float, float]:
    """Return r and its error from coefficients (2, K, n), MID and HIGH, of the quieter blocks, the quietest first."""
    high = HIGH[MID | HIGH]
    n, found = two.shape[2], []
    for share in SHARES:
        end = min(n, max(FEWEST, round(share * n / QUIET)))
        r, chance, v = _correlation(two[:, high, :end])
        others = [_correlation(two[:, ~high, :end])]
        if n - end >= FEWEST:
            others.append(_correlation(two[:, high, end : 4 * end]))
        apart = [abs(other - r) - hypot(chance, error) for other, error, _ in others]
        stronger = max(0.0, min(1.0, float((others[0][2] / v).max()) - 1 - 2 * chance))
        found.append((hypot(chance, max(0.0, *apart, stronger * abs(r))), r))
    error, r = min(found)
    return r, error


def _correlation(two: Tensor) -> tuple[float, float, Tensor]:
    """Return r of coefficients (2, K, n), its error by chance, and the variances (2,)."""
    n = two.shape[2]
    v = torch.tensor([robust_mean(channel.square().mean(0), n)[0] for channel in two], dtype=two.dtype)
    a, b = two / v.sqrt()[:, None, None]
    (plus, s), (minus, t) = (robust_mean((a + sign * b).square().mean(0) / 2, n) for sign in (1, -1))
    return (plus - minus) / (plus + minus), 2 * hypot(minus * s, plus * t) / (plus + minus) ** 2, v


def _cosine(products: Tensor, a: int, b: int) -> float:
    """Return the similarity of channels a and b; 1 of two without any deviation, and 0 of one with and one without."""
    scale = float((products[a, a] * products[b, b]).sqrt())
    return float(products[a, b]) / scale if scale > 0 else float(products[a, a] == products[b, b])
