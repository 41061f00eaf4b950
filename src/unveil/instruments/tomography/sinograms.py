"""Which axis of a sinogram is that of the detectors, and is it one of attenuation?

The sum over the detectors is the mass of the slice at every angle; the outermost detectors see air.
"""

import torch
from torch import Tensor

from unveil.operators.base import Operator

__all__ = ["axes_line", "transmitted_line"]

CONSTANT = 0.1
"""The largest relative deviation of sums that are one mass, truncated rays and noise included."""
TIMES = 3.0
"""How many times more than those the other sums deviate at least."""
OUTSIDE = 0.02
"""The share of the detectors, at either end, that see air if any do."""
SHADE = 0.9
"""Of what is transmitted by air at most, in the mean of all; and of the brightest at least, by air."""


def axes_line(y: Tensor) -> str | None:
    """Return a line where sinograms y (B, C, detectors, angles) seem to have their axes exchanged."""
    over_detectors, over_angles = (deviation(y.double().sum(axis)) for axis in (-2, -1))
    if not (over_angles < CONSTANT and over_detectors > max(CONSTANT, TIMES * over_angles)):
        return None
    return (
        "the sinograms' axes seem to be exchanged: sums over the detectors, the mass of a slice, should be the same at "
        f"every angle and deviate by {over_detectors:.1%}, and sums over the angles by {over_angles:.1%}; if they are "
        "(angles, detectors), exchange H and W in data.axes, e.g. --set data.axes=NWH, or save them transposed"
    )


def transmitted_line(y: Tensor) -> str | None:
    """Return a line where sinograms y (B, C, detectors, angles) seem to be of what is transmitted, not absorbed."""
    edge = max(1, round(OUTSIDE * y.shape[-2]))
    air = torch.cat([y[..., :edge, :], y[..., -edge:, :]], -2).double().flatten()
    level, brightest = float(air.median()), float(y.double().flatten(2).quantile(0.99, -1).median())
    if not (level > 0 and level > SHADE * brightest and float(air.std()) < (1 - SHADE) * level):
        return None
    if (mean := float(y.double().mean())) > SHADE * level:
        return None
    return (
        f"the outermost detectors, which should see air and no mass, have the largest values ({level:.3g}, the mean is "
        f"{mean:.3g}): these seem to be transmitted intensities; divide them by the flats, and save -log of that"
    )


def deviation(sums: Tensor) -> float:
    """Return the deviation of sums (B, C, K) along K, relative to their mean: the median of the B C."""
    return float((sums.std(-1) / sums.mean(-1).abs().clamp_min(torch.finfo(sums.dtype).tiny)).median())


def doubts(y: Tensor, operator: Operator, sigma: float | None) -> list[str | None]:
    """Return what sinograms y (B, C, detectors, angles) contradict of their description, a line each."""
    return [axes_line(y) or transmitted_line(y)]
