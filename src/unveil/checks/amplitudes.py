"""Is speckle that of intensities, or of amplitudes, their roots?

Both have a deviation that is a share of the mean, and so pass for Gamma noise of some looks L = (mean / deviation)^2.
The logarithm tells: its variance is psi'(L) for an intensity of L looks, psi' the trigamma function, and psi'(M) / 4
for the amplitude (of Nakagami's law) whose intensity has M looks, where

    1 + 1 / L = M (Gamma(M) / Gamma(M + 1/2))^2.

Of one look's amplitude, L = 3.66, it is 1.31 times as large as of an intensity; beyond L = 9 less than 1.12 times, and
then hardly anything else differs either. Blocks that hold little but noise are looked at, and compared with both kinds
drawn about the same means: what is quiet in logarithms was chosen alike.
"""

import math

import torch
from torch import Tensor

from unveil.checks.look import filled
from unveil.checks.misfits import FEWEST, FINE, Z, excess
from unveil.checks.quiet import Ratio, local_mean, ratio, take_blocks
from unveil.noise import Gamma, Gaussian, Noise
from unveil.noise.estimate.blocks import HIGH, SIDE
from unveil.random import make_generator

__all__ = ["amplitude_line"]

NOTHING = 1e-3
"""The share of values of 0 and below from which logarithms tell nothing."""
APART = 1.12
"""How many times larger the variance of the logarithms must be for amplitudes than for intensities."""
QUIET = 0.3
"""The share of the blocks that is looked at."""
_KEY = 1038


def amplitude_line(images: list[Tensor], noise: Noise) -> str | None:
    """Return a line where the speckle of images (C, H, W) is that of amplitudes; noise: of intensities, as stated."""
    stated = noise.log_variance
    images = [y for y in images if min(y.shape[1:]) >= SIDE]
    if stated is None or not images or float(torch.cat([(y <= 0).flatten() for y in images]).float().mean()) > NOTHING:
        return None
    stated = stated.mean().reshape(1)
    looks, squared = _looks_of(stated)
    if float(torch.polygamma(1, squared) / 4 / stated) < APART:
        return None
    generator, means = make_generator("cpu", 0, _KEY), [local_mean(y) for y in images]
    found = _of_logs(images, stated)
    intensities = _of_logs([Gamma(float(looks)).sample(u, generator) for u in means], stated)
    amplitudes = _of_logs([Gamma(float(squared)).sample(u.square(), generator).sqrt() for u in means], stated)
    middle, error = (intensities.value + amplitudes.value) / 2, math.hypot(found.error, intensities.error)
    beyond = found.value - intensities.value > Z * error and found.value > middle
    if not beyond or found.value > amplitudes.value + Z * error:  # of intensities, or neither
        return None
    return (
        "the speckle seems to be of amplitudes, not of intensities: its logarithm varies "
        f"{found.value / intensities.value:.2f} times as much as that of {float(looks):.3g} looks, and that of "
        f"amplitudes {amplitudes.value / intensities.value:.2f} times: square the values, which then have about "
        f"{float(squared):.2g} looks"
    )


def _of_logs(images: list[Tensor], stated: Tensor) -> Ratio:
    """Return the variance of the logarithms of images in quiet blocks, over the stated one; structure is taken off."""
    logs = [filled(y.clamp_min(0).log().nan_to_num(neginf=torch.nan)) for y in images]
    blocks = take_blocks(logs, [Gaussian(float(stated.sqrt()))] * len(images)).quietest(QUIET, FEWEST)
    found = ratio(blocks, HIGH)
    structure = FINE * excess(blocks)
    return Ratio(found.value - structure, math.hypot(found.error, structure))


def _looks_of(variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return L of intensities whose logarithm has this variance, and M of intensities whose root passes for them."""
    many = torch.logspace(-1, 2, 3001, dtype=torch.float64)
    looks = many[(torch.polygamma(1, many) - variance[:, None]).abs().argmin(1)]
    gamma = torch.lgamma(many) - torch.lgamma(many + 0.5)
    passed = 1 / (many * (2 * gamma).exp() - 1)
    return looks, many[(passed.log() - looks[:, None].log()).abs().argmin(1)]
