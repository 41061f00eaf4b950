"""Parameters of noise from calibration: dark frames, repeats of one scene (flat fields among them).

Frames of the same scene differ by noise alone: of n of them the variance at a pixel over n - 1 is unbiased, whatever
the structure. Dark frames, without light, give the offset and the read noise of each pixel; repeats give the photon-
transfer curve pixel by pixel, in bins of the pixels' mean. A lamp that drifts changes all pixels by one factor: frames
of one brightness are scaled to their common mean over the offset first; those of several exposures are several groups.

Sources: J. Janesick, Photon Transfer, SPIE 2007, https://doi.org/10.1117/3.725073; EMVA Standard 1288, release 4.0,
2021, https://www.emva.org/standards-technology/emva-1288.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.estimate.line import TransferCurve

__all__ = ["Darks", "dark_frames", "levels_of", "repeated", "with_darks"]

BINS, FEWEST = 12, 100
APART = 1.15
"""The ratio of the brightnesses of two frames, next to one another in brightness, from which they are two levels."""
BEYOND = 10.0
"""In standard errors of a frame's brightness, besides."""
HOT = 8.0
"""Deviations of the pixels' offsets, or the ratio of a pixel's read noise to the median one, from which it is hot."""


class Darks(NamedTuple):
    """Hold what dark frames tell: offset and read noise, common to all pixels and of each one (C, H, W).

    offset_error, read_error: of the common ones. hot: which pixels (C, H, W) are far from the others.
    """

    offset: float
    offset_error: float
    read: float
    read_error: float
    offsets: Tensor
    reads: Tensor
    hot: Tensor


def dark_frames(frames: Tensor) -> Darks:
    """Return offset and read noise of dark frames (n, C, H, W), n >= 2, in their units.

    The common read noise is the root of the mean variance over time; hot pixels are left out of it. Raises UnveilError
    for a single frame.
    """
    _several(frames, "dark")
    frames = frames.double()
    n = len(frames)
    offsets, variance = frames.mean(0), frames.var(0)
    middle, typical = offsets.median(), float(variance.median())
    spread = max(float((offsets - middle).abs().median()) * 1.4826, math.sqrt(typical / n), 1e-300)
    hot = ((offsets - middle).abs() > HOT * spread) | (variance > HOT**2 * max(typical, 1e-300))
    kept, count = variance[~hot], int((~hot).sum())
    read = float(kept.mean().sqrt())
    # the scatter of the pixels' variances holds their kurtosis, and that pixels differ
    read_error = float(kept.std()) / math.sqrt(count) / (2 * read) if read > 0 else 0.0
    offset_error = math.hypot(float(offsets[~hot].std()) / math.sqrt(count), read / math.sqrt(n * count))
    return Darks(float(offsets[~hot].mean()), offset_error, read, read_error, offsets, variance.sqrt(), hot)


def repeated(frames: Tensor, offset: float = 0.0) -> TransferCurve:
    """Return the photon-transfer curve of n >= 2 frames (n, C, H, W) of one scene, in their units.

    offset: the brightness without light, over which a drift of the lamp is taken out. Pixels of the greatest value are
    left out, as saturated. Frames of several exposures are taken by exposure (`levels_of`).
    Raises UnveilError for a single frame.
    """
    _several(frames, "repeated")
    groups = levels_of(frames, offset)
    top = max(group.max() for group in groups)
    mean, variance = (torch.cat(part) for part in zip(*(_moments(group, top) for group in groups)))
    ends = mean.sort().values[[int(p * (len(mean) - 1)) for p in (0.001, 0.999)]]
    edges = torch.linspace(float(ends[0]), float(ends[1]), BINS + 1, dtype=mean.dtype)
    bins = []
    for k in range(BINS):
        inside = (mean >= edges[k]) & (mean <= edges[k + 1])
        count = int(inside.sum())
        if count >= FEWEST:
            v = variance[inside]
            bins.append((float(mean[inside].mean()), float(v.mean()), float(v.std()) / math.sqrt(count)))
    return TransferCurve(*torch.tensor(bins, dtype=torch.float64).reshape(-1, 3).T)


def levels_of(frames: Tensor, offset: float) -> list[Tensor]:
    """Return frames (n, C, H, W) in groups of one brightness, from dark to bright, as if the lamp had been steady.

    offset: the brightness without light. Frames that are alone in their brightness are left out, unless all are: they
    are taken for one group.
    """
    frames = frames.double()
    light = frames.mean((1, 2, 3)) - offset
    by_chance = float(frames[0].std()) / math.sqrt(frames[0].numel())
    order = light.argsort()
    row = light[order].tolist()
    groups, start = [], 0
    for k in range(1, len(row) + 1):
        if k == len(row) or row[k] - row[k - 1] > max((APART - 1) * row[k - 1], BEYOND * by_chance):
            chosen, start = order[start:k], k
            if len(chosen) > 1:
                groups.append(_steady(frames[chosen], light[chosen], offset))
    return groups or [_steady(frames, light, offset)]


def _steady(frames: Tensor, light: Tensor, offset: float) -> Tensor:
    light = light.reshape(-1, 1, 1, 1)  # of each frame, over the offset
    return offset + (frames - offset) * light.mean() / light if bool((light > 0).all()) else frames


def _moments(group: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance (N,) of the pixels that are below `top` in all frames."""
    below = (group < top).all(0)
    return group.mean(0)[below], group.var(0)[below]


def with_darks(curve: TransferCurve, darks: Darks) -> TransferCurve:
    """Return the curve with the point of no light, from dark frames."""
    point = (darks.offset, darks.read**2, max(2 * darks.read * darks.read_error, 1e-300))
    return TransferCurve(*(torch.cat([torch.tensor([p], dtype=torch.float64), x]) for p, x in zip(point, curve)))


def _several(frames: Tensor, kind: str) -> None:
    if frames.ndim != 4 or len(frames) < 2:
        raise UnveilError(f"{kind} frames of shape {tuple(frames.shape)}: pass (n, C, H, W), at least two of one size")
