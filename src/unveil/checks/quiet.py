"""The noise in the quietest parts of images, over the noise that is stated.

White noise is alike in all coefficients of a block's DCT, and structure is not (`unveil.noise.estimate.blocks`). Blocks
in which LOW frequencies are weakest against the stated noise hold little but noise in HIGH ones, whatever the noise is:
given x the two are independent for Gaussian noise, and nearly so for counts. Coefficients of noise that is stated to be
correlated are divided by the deviations that it says they have, and are as those of white noise then. Of a block of
mean m let v(m) be the variance that is stated for it. Over quiet blocks

    r = sum of z^2 / sum of v(m),       z the coefficients of a band,

has mean 1 where noise is white and as strong as stated: the noise of the mean itself does not matter where v is affine
in it (speckle of L looks: 1 + 1 / (64 L)), and given its number of photons a block's photons lie at random. Its
standard error comes from the blocks' own scatter. Photographs of BSD400 in sets of 8 have r = .97 to 1.05 in HIGH
frequencies at levels of .03 to .2 and at 4 to 200 photons; .9 in speckle of one look, whose quiet blocks are those in
which no pixel happens to be bright.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from unveil.checks.look import filled
from unveil.noise import Noise
from unveil.noise.estimate import dct
from unveil.noise.estimate.blocks import LOW, SIDE, coefficients
from unveil.random import make_generator, normal

__all__ = [
    "ACROSS",
    "DOWN",
    "Blocks",
    "Ratio",
    "away_from",
    "bands_apart",
    "block_basis",
    "evened",
    "local_mean",
    "made_white",
    "not_nothing",
    "ratio",
    "take_blocks",
]

_ROW, _COLUMN = torch.arange(SIDE).repeat_interleave(SIDE), torch.arange(SIDE).repeat(SIDE)
DOWN, ACROSS = (_ROW >= 5) & (_COLUMN < 2), (_COLUMN >= 5) & (_ROW < 2)
"""6 coefficients each that change from row to row, or from column to column, alone."""
FAINT = 0.1
_KEY = 1019  # of draws that are those of nothing else
TINY = 1e-3
"""The share of the mean variance under which a stated variance counts as this: nothing is seen without any noise."""


class Blocks(NamedTuple):
    """N blocks in a row.

    mean (N,): of the signal, about. stated (N,): the variance of the noise. z (64, N): their coefficients. image (N,):
    the number of the image each is of. rough (N,): how much structure there seems to be, least where there is none.
    drawn: the share of the stated variance that was drawn as stated, and says nothing.
    """

    mean: Tensor
    stated: Tensor
    z: Tensor
    image: Tensor
    rough: Tensor
    drawn: float = 0.0

    def at(self, which: Tensor) -> "Blocks":
        mean, stated, image, rough = (part[which] for part in (self.mean, self.stated, self.image, self.rough))
        return Blocks(mean, stated, self.z[:, which], image, rough, self.drawn)

    def quietest(self, share: float, fewest: int) -> "Blocks":
        """Return the share of the blocks that are least rough, at least `fewest` of them where there are."""
        return self.at(self.order(share, fewest))

    def order(self, share: float, fewest: int) -> Tensor:
        """Return the numbers of the quietest."""
        return self.rough.argsort()[: max(fewest, round(share * len(self.mean)))]


class Ratio(NamedTuple):
    """A figure and its standard error."""

    value: float
    error: float


def take_blocks(images: list[Tensor], noises: list[Noise]) -> Blocks:
    """Return the blocks of images (C, H, W), those under SIDE pixels left out, and those near gaps, which are NaN.

    noises: of each, a batch of one.
    """
    parts = []
    for i, (image, noise) in enumerate(zip(images, noises)):
        if min(image.shape[1:]) < SIDE:
            continue
        y, known = filled(image), away_from(image.isnan())
        z = coefficients(y)
        level = z[0].flatten()[known] / SIDE
        stated = avg_pool2d(noise.variance(local_mean(y)[None]).double(), SIDE)[0].flatten()[known]
        z = made_white(z.flatten(1)[:, known], stated, noise)
        parts.append((level, stated, z, torch.full((len(stated),), i)))
    if not parts:
        nothing = torch.zeros(0, dtype=torch.double)
        return Blocks(nothing, nothing, torch.zeros(SIDE**2, 0), torch.zeros(0, dtype=torch.long), nothing)
    mean, stated, z, image = (torch.cat(part, -1) for part in zip(*parts))
    stated = not_nothing(stated)
    return Blocks(mean, stated, z, image, z[LOW].square().mean(0) / stated)


def made_white(z: Tensor, stated: Tensor, noise: Noise) -> Tensor:
    """Return coefficients z (64, N) in noise of variance `stated` (N,), as if it were white, not correlated as stated.

    Where it should have less than FAINT of the variance the rest is drawn: there structure and rounding are stronger.
    """
    correlation = noise.correlation(SIDE, SIDE)
    if correlation is None:
        return z
    basis = block_basis()
    power = ((basis @ correlation) * basis).sum(1)[:, None].clamp_min(0)
    share = power / power.clamp_min(FAINT)
    drawn = normal(z, make_generator("cpu", _KEY)) * ((1 - share) * stated).sqrt()
    return z / power.clamp_min(FAINT).sqrt() + drawn


def away_from(gaps: Tensor) -> Tensor:
    """Return which blocks (N,) have no gap, nor has any block beside them; gaps: boolean (C, H, W).

    Beside a saturated pixel the noise of others is cut off at its bright end, though they are not saturated.
    """
    return max_pool2d(max_pool2d(gaps.double()[None], SIDE), 3, 1, 1)[0].flatten() == 0


def evened(y: Tensor, noise: Noise, about: Tensor) -> Tensor:
    """Return y (C, H, W), NaN in gaps, as if the noise of each pixel were that of the middle one.

    about: (C, H, W), the scene, about: what y is off it is multiplied by the ratio of the two deviations. noise: a
    batch of one.
    """
    if not noise.mapped:
        return y
    own, middle = (one.variance(about[None])[0] for one in (noise, noise.middle))
    own, middle = (not_nothing(variance) for variance in (own, middle))
    return about + (y - about) * (middle / own).sqrt()


def not_nothing(stated: Tensor) -> Tensor:
    """Return variances, of any shape, that are at least a little of their mean."""
    return stated.clamp_min(TINY * float(stated.mean()) + 1e-300)


def local_mean(y: Tensor) -> Tensor:
    """Return the mean of its block at each pixel of y (C, H, W); at the edges that of the nearest whole block."""
    means = interpolate(avg_pool2d(y[None], SIDE), scale_factor=SIDE)
    missing = (0, y.shape[2] - means.shape[3], 0, y.shape[1] - means.shape[2])
    return pad(means, missing, mode="replicate")[0]


def ratio(blocks: Blocks, band: Tensor) -> Ratio:
    """Return r of the coefficients of `band` (64,), boolean."""
    n = len(blocks.mean)
    if n < 2:
        return Ratio(math.nan, math.inf)
    energy = (blocks.z[band].square().mean(0) - blocks.drawn * blocks.stated) / (1 - blocks.drawn)
    r = energy.sum() / blocks.stated.sum()
    scatter = float((energy - r * blocks.stated).square().sum().sqrt())
    # a few blocks do not know their own scatter
    by_chance = math.sqrt(2 / (int(band.sum()) * n)) * max(1.0, float(r)) / (1 - blocks.drawn)
    return Ratio(float(r), max(scatter / float(blocks.stated.sum()), by_chance))


def bands_apart(blocks: Blocks, band: Tensor, other: Tensor) -> Ratio:
    """Return log(r of band / r of other), with the error of two independent ones; an r under its error counts as it."""
    a, b = (Ratio(max(r.value, r.error), r.error) for r in (ratio(blocks, band), ratio(blocks, other)))
    return Ratio(math.log(a.value / b.value), math.hypot(a.error / a.value, b.error / b.value))


def block_basis() -> Tensor:
    """Return the images (64, 64 pixels) of the coefficients."""
    matrix = dct(SIDE)
    return torch.einsum("ui,vj->uvij", matrix, matrix).reshape(SIDE**2, SIDE**2).double()
