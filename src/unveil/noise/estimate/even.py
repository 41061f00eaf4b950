"""Which noise do images of one brightness have, as flat fields, empty scenes and noise alone?

Variance against mean tells nothing there; how the noise is skewed does. With mean m, variance v and third cumulant k of
y, at one brightness

    c = k m / v^2  =  0 Gaussian,     1 Poisson (v = gain m, k = gain^2 m),     2 Gamma (v = m^2 / L, k = 2 m^3 / L^2).

Of a camera, v = gain (m - offset) + read^2 and k = gain^2 (m - offset), it may be anything above 0: these are three
numbers for four parameters. With rho = read^2 / v the share of the read noise

    gain = k / ((1 - rho) v),     offset = m - (1 - rho)^2 v^2 / k,

and rho is what the offset 0 makes it where that fits, else such that the read noise is about one photon. The errors
cover all rho that fit.

What fits is seen in all values, by their characteristic function (`unveil.noise.estimate.characteristic`): a law does
whose D is CHANCE times what chance makes it at most, or PART of that of Gaussian noise. Few values far off, as of hot
pixels, which three moments take for few photons of a large gain, hardly count there.

All this is asked of images that hold noise alone: LOW frequencies are as strong as the others, and the variance grows
with the mean by less than STEADY, or the means of blocks vary no more than noise makes them. Light may be uneven by a
fifth from end to end.

The thresholds were chosen on simulated fields of 128 x 128 pixels. Of others of 180 x 180, one and four a set
(benchmarks/estimate_check.py), white Gaussian noise, counts of .9 to 440 photons and speckle of 1 to 16 looks are found
as what they are in 287 of 288 sets, looks within 1.7% at the 90% quantile. A camera's noise of 9 to 90 photons is found
as that in 48 of 48 single fields, the gain off by 3 to 10% in the median and always within two of its errors; of 130
in 9 of 12, and of 440 in 1 of 24: there it passes for Gaussian. In photographs with structure
(100 single ones and 25 sets of four) no noise of level .02 to 1 is taken for skewed.

What is as skewed, and cannot be told: amplitudes of few looks, in few images, from counts; speckle of more than
MOST_LOOKS looks from counts over an offset; counts of more than 400 photons, that are not whole numbers, from Gaussian
noise. Where noise is skewed and nothing fits, it is found as before.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.noise.estimate.blocks import HIGH, MID, SIDE
from unveil.noise.estimate.characteristic import GROUPS, Cumulants, Seen, camera, counted, gaussian, speckle
from unveil.noise.estimate.line import TransferLine
from unveil.noise.estimate.step import photon_step
from unveil.noise.estimate.transfer import Blocks

__all__ = ["Even", "even_noise", "shows_one_brightness"]

ALONE, MOST_UNSURE = 0.04, 0.5
"""The share that LOW frequencies may differ by from the others, and the error of it."""
STEADY, EVEN = 1.7, 2.0
"""The ratio of the variance of bright to that of dark up to which they are one brightness, and how much more than by
noise the means of blocks may vary where they are one whatever it is."""
PART, CHANCE, NEAR = 0.001, 5.0, 1.5
"""NEAR: how much more than the least D of a camera, times chance, is as good."""
Z, AGREE, LEAST = 5.0, 3.0, 0.05
"""Errors, and skewness, from which on noise is skewed, and errors up to which c agrees."""
SHARES, HALF = tuple(k / 20 for k in range(20)), 0.025
"""rho of a camera, and half the distance between them."""
LEAST_READ, LEAST_PHOTONS = 0.05, 0.05
"""In photons: of a camera. Fewer photons are as few hot pixels would look."""
COARSE = 0.5
"""Deviations of the noise: whole multiples of more than that have no read noise."""
MOST_LOOKS = 64
"""Of speckle: of more it is as counts over an offset would be, which are met more often."""


class Even(NamedTuple):
    """Hold a family and its parameters, with standard errors; words: why, and what was assumed.

    bounds: of the offset, and assumed: of it, as of `unveil.noise.estimate.choose.Found`.
    """

    kind: str
    parameters: dict[str, float]
    errors: dict[str, float]
    words: str
    bounds: tuple[float, float] | None = None
    assumed: str | None = None


def shows_one_brightness(blocks: Blocks, line: TransferLine | None) -> bool:
    """Return whether images hold noise alone, of one brightness. line: through their photon-transfer curve.

    Of few photons and looks it rises by chance: blocks with more of them have more noise.
    """
    if len(blocks.mean) < 2:
        return False
    mids, highs = int(MID.sum()), int(HIGH.sum())
    noise = (mids * blocks.mid + highs * blocks.high) / (mids + highs)
    total = float(noise.mean())
    rises = line is not None and float(line.level[-1]) > STEADY * float(line.level[0])
    if not total > 0 or (rises and float(blocks.mean.var()) > EVEN * total / SIDE**2):
        return False
    r = float(blocks.low.mean()) / total
    error = float((blocks.low - r * noise).std()) / total / math.sqrt(len(noise) * blocks.worth)
    return abs(r - 1) < max(ALONE, AGREE * error) < MOST_UNSURE


def even_noise(images: Sequence[Tensor], zero: float = 0.0) -> Even | None:
    """Return the skewed noise of images (C, H, W) of noise alone; None where it is Gaussian, or fits no family.

    zero: the brightness that stands for the number 0 in the files.
    """
    seen = Seen(images)
    if seen.count < 2 * GROUPS:
        return None
    m, v, k = seen.moments.tolist()
    most = max(CHANCE * seen.chance, PART * seen.distance(gaussian(v)))

    def fits(law: Cumulants) -> bool:
        return seen.distance(law) < most

    c, error = k * m / v**2, float(seen.error(lambda a: a[2] * a[0] / a[1].square()))
    step = photon_step(images) if zero == 0 and m > 0 else None
    if step is not None and abs(c - 1) < AGREE * error and fits(counted(step, m)):
        return Even("poisson", {"gain": step}, {"gain": 0.0}, "skewed as whole photons are")
    skewed = k > max(Z * float(seen.error(lambda a: a[2])), LEAST * v**1.5)
    if not skewed or (step is not None and step > COARSE * v**0.5):
        return None
    intensities = zero == 0 and seen.least >= 0 and m**2 < MOST_LOOKS * v
    if intensities and abs(c - 2) < AGREE * error < 1 and fits(speckle(m, m**2 / v)):
        looks_error = float(seen.error(lambda a: a[0].square() / a[1]))
        return Even("gamma", {"looks": m**2 / v}, {"looks": looks_error}, "skewed as speckle is")
    distance = {rho: seen.distance(camera(v, k, rho)) for rho in SHARES if ((1 - rho) * v) ** 3 > LEAST_PHOTONS * k**2}
    best = max(min(distance.values(), default=math.inf) + NEAR * seen.chance, PART * seen.distance(gaussian(v)))
    shares = [rho for rho, d in distance.items() if d < min(best, most)]
    return _camera(seen, shares, zero) if shares else None


def _camera(seen: Seen, shares: Sequence[float], zero: float) -> Even:
    """Return the noise of a camera whose share of read noise is one of `shares`."""

    def of_zero(a: Tensor) -> Tensor:
        return 1 - (a[2] * (a[0] - zero)).clamp_min(0).sqrt() / a[1]

    def chosen(a: Tensor) -> Tensor:
        return of_zero(a) if at_zero else torch.full_like(a[0], one_photon)

    _, v, k = seen.moments.tolist()
    at_zero = shares[0] - HALF < float(of_zero(seen.moments)) < shares[-1] + HALF
    few = [rho for rho in shares if rho <= 1 / 3] or shares  # of under two photons there is a second one
    one_photon = min(few, key=lambda rho: abs(math.log(max(rho, 1e-3) * v * ((1 - rho) * v / k) ** 2)))
    found = _of_share(seen.moments, chosen(seen.moments))
    ends = torch.stack([_of_share(seen.moments, torch.tensor(end)) for end in (shares[0], shares[-1])])
    chance = seen.error(lambda a: _of_share(a, chosen(a)))
    errors = torch.stack([(ends - found).abs().amax(0) / 2, chance]).norm(dim=0)
    names = ("gain", "read", "offset")
    taken = "its offset is taken for 0" if at_zero else "its read noise is taken for about one photon"
    return Even(
        "poisson-gaussian", dict(zip(names, found.tolist())), dict(zip(names, errors.tolist())),
        f"skewed as counted photons are; one brightness tells no offset: {taken}, which fits",
        (float(ends[0, 2]), float(ends[1, 2])), "zero" if at_zero else "electron",
    )  # fmt: skip


def _of_share(moments: Tensor, rho: Tensor) -> Tensor:
    """Return gain, read noise and offset (3, ...) of moments (3, ...) where rho (...) of the variance is read noise."""
    m, v, k = moments
    counts = (1 - rho).clamp(1 - SHARES[-1] - HALF, 1) * v
    gain = k / counts
    read = (v - counts).clamp_min(0).sqrt()
    return torch.stack([gain, torch.maximum(read, LEAST_READ * gain), m - counts / gain])
