"""Does the noise grow with brightness, as that of counted photons does?

A photon-transfer curve of the images themselves.

Blocks are sorted by their mean into BINS of equal width, and each bin's noise is measured on the half of its blocks
with least structure. Noise is white, structure is not: where MID frequencies are stronger than HIGH ones, v_mid >
v_high beyond one standard error, structure is left. It is about as strong in HIGH as the difference (detail falls by
half or more from one to the other), so the bin's variance is taken as

    v = v_high - e,     e = max(0, v_mid - v_high - s),     uncertain by  (s_high^2 + e^2)^{1/2}.

A straight line is fitted to v against the mean, each bin weighted by its uncertainty. The noise grows where the slope
is more than SLOPE of its standard errors above 0, and the line by a factor of more than GROWTH over the bins.

Bins within two deviations of a value in which pixels are piled up (clipping) are left out: clipping shortens the
noise. Of whole numbers with few values, photons counted one by one, zeros are no clipping, and they stay.

The thresholds were chosen on photographs of scikit-image; benchmarks/contradictions_check.py measures how often it
errs on others: photographs of BSD400 in white noise of level .02 to .2 passed for growing in one of 320 sets. Poisson
noise of 20 to 1000 photons at white, and a camera's with an offset and read noise, is told in 17 to 20 of 20 sets of
four photographs, and in 14 to 19 of 20 single ones of 180 x 180 pixels, best where photons are few.

Sources. Photon transfer: J. Janesick, Photon Transfer, SPIE 2007, https://doi.org/10.1117/3.725073; from single
images: A. Foi et al. 2008, https://doi.org/10.1109/TIP.2008.2001399.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.checks.blocks import HIGH, LOW, MID, SIDE, coefficients, median_variance

__all__ = ["Growth", "noise_growth"]

SLOPE, GROWTH = 3.0, 2.0
BINS, FEWEST, QUIET = 8, 20, 0.5
BLOCKS = 400_000
"""About how many blocks are looked at."""
PILED, MARGIN = 0.0005, 2.0
"""The share of pixels at one value, the least or greatest, from which it clips; the distance from it, in deviations."""
FEW_VALUES = 64


class Growth(NamedTuple):
    """The noise's deviation at two brightnesses, dark and bright, on the images' own scale."""

    dark: float
    bright: float
    level_dark: float
    level_bright: float


class _Bin(NamedTuple):
    mean: float
    variance: float
    error: float
    near_dark_end: bool


def noise_growth(images: Sequence[Tensor]) -> Growth | None:
    """Return how the noise of `images` (C, H, W), in common units, grows with brightness; None where it does not."""
    images = [image for image in images if min(image.shape[1:]) >= SIDE]
    pixels = sum(image.numel() for image in images)
    if not pixels:
        return None
    stride = max(SIDE // 2, round(math.sqrt(pixels / BLOCKS)))
    parts = [_energies(image, stride) for image in images]
    mean, low, mid, high = (torch.cat(part, -1) for part in zip(*parts))
    dark_end = max((end for image in images if (end := _piled(image, image.min())) is not None), default=-math.inf)
    bright_end = min((end for image in images if (end := _piled(image, image.max())) is not None), default=math.inf)
    ends = mean.quantile(torch.tensor([0.005, 0.995], dtype=mean.dtype)) if len(mean) < 2**24 else mean.aminmax()
    edges = torch.linspace(float(ends[0]), float(ends[1]), BINS + 1, dtype=mean.dtype)
    bins = []
    for k in range(BINS):
        inside = ((mean >= edges[k]) & (mean <= edges[k + 1])).nonzero()[:, 0]
        if len(inside) >= FEWEST:
            quiet = inside[low[inside].argsort()[: max(FEWEST, round(QUIET * len(inside)))]]
            bins.append(_bin(mean[quiet], mid[:, quiet], high[:, quiet], stride, dark_end, bright_end))
    kept = [b for b in bins if b is not None]
    usual = [b for b in kept if not b.near_dark_end]
    return _line(usual if len(usual) >= 3 or not _few_values(images) else kept)


def _energies(image: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each block's mean, its LOW energy, and the squares of its MID and HIGH coefficients, of each channel."""
    z = coefficients(image, stride).flatten(1)
    return z[0] / SIDE, z[LOW].square().sum(0), z[MID].square(), z[HIGH].square()


def _piled(image: Tensor, end: Tensor) -> float | None:
    return float(end) if float((image == end).double().mean()) > PILED else None


def _few_values(images: Sequence[Tensor]) -> bool:
    return len(torch.cat([image.flatten() for image in images]).unique()) <= FEW_VALUES


def _bin(mean: Tensor, mid: Tensor, high: Tensor, stride: int, dark_end: float, bright_end: float) -> _Bin | None:
    """Return the noise of one bin's quiet blocks; None near the bright end."""
    blocks = len(mean) * min(1.0, stride**2 / SIDE**2)  # what they are worth, not overlapping
    v_mid, v_high = median_variance(mid), median_variance(high)
    # a median's squared error is 3/2 of a mean's
    s_mid, s_high = (v * math.sqrt(3 / (k * blocks)) for v, k in ((v_mid, len(mid)), (v_high, len(high))))
    structure = max(0.0, v_mid - v_high - math.hypot(s_mid, s_high))
    centre, reach = float(mean.mean()), MARGIN * math.sqrt(max(v_high, 0))
    if centre > bright_end - reach:
        return None
    return _Bin(centre, v_high - structure, math.hypot(s_high, structure), centre < dark_end + reach)


def _line(bins: Sequence[_Bin]) -> Growth | None:
    """Return the growth of the straight line through the bins, where there is one."""
    if len(bins) < 3:
        return None
    m, v, error = (torch.tensor(part, dtype=torch.float64) for part in list(zip(*bins))[:3])
    w = 1 / error.clamp_min(1e-6 * float(v.abs().max()) + 1e-300).square()
    centre = (w * m).sum() / w.sum()
    spread = (w * (m - centre).square()).sum()
    slope = (w * (m - centre) * v).sum() / spread
    fitted = (w * v).sum() / w.sum() + slope * (m - centre)
    misfit = max(1.0, float((w * (v - fitted).square()).sum()) / (len(m) - 2))
    if not float(slope * (spread / misfit).sqrt()) > SLOPE:
        return None
    # a line may pass below 0 in the dark: read noise that is little
    dark, bright = max(float(fitted[0]), 0.0), float(fitted[-1])
    if not bright > GROWTH * dark:
        return None
    return Growth(float(m[0]), float(m[-1]), math.sqrt(dark), math.sqrt(bright))
