"""The photon-transfer curve of single images: the variance of their noise against brightness.

Blocks are sorted by their mean into BINS of equal width. Noise is white, structure is not: where MID frequencies are
stronger than HIGH ones, v_mid > v_high beyond one standard error, structure is left. It is about as strong in HIGH as
the difference (detail falls by half or more from one to the other), so a bin's variance is taken as

    v = v_high - e,     e = max(0, v_mid - v_high - s),     uncertain by  (s_high^2 + e^2)^{1/2},

from that share of its blocks with least structure, of SHARES, for which this uncertainty is least. v of a band is a
mean that some blocks with structure do not spoil: the cube roots of chi^2 variables are nearly normal, so from median m
and quartiles (m +- .674 s) of the cube roots of the blocks' energies v = m^3 + 3 m s^2. Its spread is that of the data:
few photons spread more than Gaussian noise does.

Bins within two deviations of a value in which pixels are piled up (clipping) are left out: clipping shortens the
noise. Where the line through all bins begins in that value, and the few values are steps of its gain, they are photons
counted one by one, of which none is no clipping, and all bins stay.

Measured in benchmarks/estimate_check.py, which `unveil.noise.estimate.choose` quotes.

Sources. Photon transfer: J. Janesick, Photon Transfer, SPIE 2007, https://doi.org/10.1117/3.725073; from single
images: A. Foi et al. 2008, https://doi.org/10.1109/TIP.2008.2001399. Cube roots: E. Wilson, M. Hilferty 1931,
https://doi.org/10.1073/pnas.17.12.684.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, LOW, MID, SIDE, coefficients
from unveil.noise.estimate.line import TransferCurve, fit_line, fit_speckle

__all__ = ["FEWEST", "Blocks", "blocks_of", "curve_of", "robust_mean", "transfer_curve"]

BINS, FEWEST = 12, 20
SHARES = (0.5, 0.25, 0.1, 0.05)
BLOCKS = 400_000
"""About how many blocks are looked at."""
PILED, MARGIN = 0.0005, 2.0
"""The share of pixels at one value, the least or greatest, from which it clips, if the value beside it holds fewer (the
tail of noise rounded to few values holds more there); the distance from it, in deviations."""
FEW_VALUES, VALUES = 64, 10_000
"""From how many different values on they are not few, and about how many pixels of an image are asked for them."""


class Blocks(NamedTuple):
    """Hold the means (N,) of N blocks of 8 x 8 pixels, and the mean squares (N,) of their LOW, MID, HIGH coefficients.

    worth: of a block, as the next ones overlap. dark_end, bright_end: where pixels are piled up. step: between
    neighbouring values, where there are no more than FEW_VALUES; else nan.
    """

    mean: Tensor
    low: Tensor
    mid: Tensor
    high: Tensor
    worth: float = 1.0
    dark_end: float = -math.inf
    bright_end: float = math.inf
    step: float = math.nan


class _Bin(NamedTuple):
    mean: float
    variance: float
    error: float
    reach: float
    """MARGIN deviations of the noise."""


def blocks_of(images: Sequence[Tensor]) -> Blocks:
    """Return the blocks of `images` (C, H, W), in common units; those below 8 pixels a side are left out."""
    images = [image for image in images if min(image.shape[1:]) >= SIDE]
    pixels = sum(image.numel() for image in images)
    if not pixels:
        nothing = torch.zeros(0, dtype=torch.float64)
        return Blocks(nothing, nothing, nothing, nothing)
    stride = max(SIDE // 2, round(math.sqrt(pixels / BLOCKS)))
    mean, low, mid, high = (torch.cat(part) for part in zip(*(_energies(image, stride) for image in images)))
    dark = max((end for image in images if (end := _piled(image, image.min())) is not None), default=-math.inf)
    bright = min((end for image in images if (end := _piled(image, image.max())) is not None), default=math.inf)
    step = _step(torch.cat([image.flatten()[:: max(1, image.numel() // VALUES)] for image in images]).unique())
    return Blocks(mean, low, mid, high, min(1.0, stride**2 / SIDE**2), dark, bright, step)


def transfer_curve(images: Sequence[Tensor]) -> TransferCurve:
    """Return the variance of the noise of `images` (C, H, W), in common units, against brightness.

    A curve of no bins where nothing can be measured.
    """
    return curve_of(blocks_of(images))


def curve_of(blocks: Blocks) -> TransferCurve:
    """Return the curve of the blocks of images."""
    mean, bins = blocks.mean, []
    if len(mean):
        ends = mean.quantile(torch.tensor([0.005, 0.995], dtype=mean.dtype)) if len(mean) < 2**24 else mean.aminmax()
        edges = torch.linspace(float(ends[0]), float(ends[1]), BINS + 1, dtype=mean.dtype)
        for k in range(BINS):
            inside = ((mean >= edges[k]) & (mean <= edges[k + 1])).nonzero()[:, 0]
            if len(inside) >= FEWEST:
                quiet = inside[blocks.low[inside].argsort()]
                bins.append(_bin(mean[quiet], blocks.mid[quiet], blocks.high[quiet], blocks.worth))
    reached = [b for b in bins if b.mean <= blocks.bright_end - b.reach]
    usual = [b for b in reached if b.mean >= blocks.dark_end + b.reach]
    if len(usual) < len(reached):
        curve = _curve(reached)
        if _vanishes(curve, blocks):
            return curve
    return _curve(usual)


def _vanishes(curve: TransferCurve, blocks: Blocks) -> bool:
    """Return whether the noise is nothing where pixels are piled up in the dark: nothing is clipped there then."""
    line, speckle = fit_line(curve), fit_speckle(curve.scaled(1, -blocks.dark_end))
    if line is None:
        return False
    counts = math.isfinite(blocks.step) and line.crosses(blocks.dark_end) and line.has_step(blocks.step)
    return counts or (speckle is not None and speckle.beats(line))


def _curve(bins: Sequence[_Bin]) -> TransferCurve:
    return TransferCurve(*(torch.tensor([b[i] for b in bins], dtype=torch.float64) for i in range(3)))


def _bin(mean: Tensor, mid: Tensor, high: Tensor, worth: float) -> _Bin:
    """Return the noise of one bin from its blocks, those with least structure first."""
    found = []
    for share in SHARES:
        n = max(FEWEST, round(share * len(mean)))
        (v_mid, s_mid), (v_high, s_high) = (robust_mean(part[:n], n * worth) for part in (mid, high))
        structure = max(0.0, v_mid - v_high - math.hypot(s_mid, s_high))
        error, reach = math.hypot(s_high, structure), MARGIN * math.sqrt(v_high)
        found.append(_Bin(float(mean[:n].mean()), max(0.0, v_high - structure), error, reach))
    return min(found, key=lambda b: b.error)


def robust_mean(energies: Tensor, blocks: float) -> tuple[float, float]:
    """Return the mean of energies (N,), squares of nearly normal noise, and its error if `blocks` are independent."""
    low, m, high = energies.pow(1 / 3).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=energies.dtype)).tolist()
    s2 = ((high - low) / 1.349) ** 2
    deviation = math.sqrt(9 * m**4 * s2 + 36 * m**2 * s2**2 + 15 * s2**3)
    return m**3 + 3 * m * s2, deviation * math.sqrt(1.5 / blocks)  # a median's squared error is 3/2 of a mean's


def _energies(image: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of each block of each channel its mean, and the mean squares of its LOW, MID and HIGH coefficients."""
    z = coefficients(image, stride).flatten(1)
    return z[0] / SIDE, z[LOW].square().mean(0), z[MID].square().mean(0), z[HIGH].square().mean(0)


def _piled(image: Tensor, end: Tensor) -> float | None:
    """Return the end of the values where pixels are piled up: many, and more than at the value beside it."""
    at = int((image == end).sum())
    if not at > PILED * image.numel():
        return None
    others = image[image != end]
    beside = int((others == others[(others - end).abs().argmin()]).sum()) if len(others) else 0
    return float(end) if at > beside else None


def _step(values: Tensor) -> float:
    return float(values.diff().median()) if 1 < len(values) <= FEW_VALUES else math.nan
