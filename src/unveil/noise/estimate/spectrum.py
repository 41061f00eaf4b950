"""The spectrum of noise that is not white, in single images: its level, kernel, and what rows and columns share.

Blocks of 8 x 8 pixels whose neighbours hold least structure hold little but noise, whatever their own coefficients are:
unlike a choice by these it leaves them as they are. Of the quietest blocks the energy of each coefficient of the DCT is

    e_k = sum_j a_j E_jk,     a_j >= 0

with E_j the energies of a dictionary of noise: separable, white or blurred by Gaussians of .5 to 2.8 pixels, means of
neighbours (linear interpolation) and their differences (sharpening), down and across; rows and columns of one draw
each; and, to be left out of the noise, structure, which falls as the third or fourth power of the frequency. a
maximises the likelihood of Gaussian coefficients (Itakura and Saito's distance) by multiplicative steps (Fevotte,
Bertin and Durrieu 2009, https://doi.org/10.1162/neco.2008.04-08-771). A mixture has an autocovariance r >= 0 in
frequency, whose symmetric root is the kernel, and goes on below the frequencies that structure hides as smoothly as its
members do. (ours)

What differs between the two diagonals is not seen: the noise is taken to be alike along both.

Thresholds were chosen on the first 200 photographs of BSD400, eight at a time, in noise of level .03 and .1: blurred
by .7 or 1.5 pixels or along a line, interpolated linearly, half of it or a fifth in stripes, and both. There the
level errs by 4% in the median (25% at most, where photographs have texture everywhere), correlations of neighbours up
to 4 pixels by .05 (.21 at most), shares of rows and columns by .03 (.16 at most). On twelve other photographs, four
at a time, the level errs by 5% at .1 and by 9% at .03 (33% at most), correlations by .07 (.3), and it is within two
stated errors in 17 of 20; on tissue by 4%, and in all of 12. White noise is never taken for correlated.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from unveil.noise.estimate.blocks import LOW, SIDE, coefficients
from unveil.noise.estimate.level import dct
from unveil.noise.kernel import autocovariance, root_kernel

__all__ = ["NoiseFound", "find_spectrum"]

SHARE, WIDE, FEWEST = 0.05, 0.2, 60
"""Of all blocks, the quietest; those by which structure would show; and how many at least."""
BLURS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
STEPS = 2000
REACH = 12
"""Pixels that a kernel extends from its middle at most; what is less than TAIL of its energy is cut off."""
TAIL = 1e-6
ROUNDING = 1e-9
"""Of the largest energy, under which there is none."""
FLOOR, MISFIT = 0.65, 1.75
"""The least floor of what is noise, and the largest misfit: of photographs without noise one or the other is beyond."""
LEAST = 0.03
"""A share of the variance below which rows and columns share nothing."""
MEDIAN = 0.4549364
"""Of the square of a normal variable."""
_DOWN, _ACROSS = torch.arange(SIDE).repeat_interleave(SIDE), torch.arange(SIDE).repeat(SIDE)


class NoiseFound(NamedTuple):
    """Hold what was found: sigma (units of the images) and its error, kernel (odd, odd), and the shares.

    misfit: the root mean square of e_k / model - 1, over what chance leaves of it. floor: the variance in the quietest
    fifth of the blocks over that in the others, 1 where all hold noise alone.
    """

    sigma: float
    sigma_error: float
    kernel: Tensor
    rows: float
    columns: float
    misfit: float
    floor: float

    @property
    def plausible(self) -> bool:
        """Return whether it is noise: as strong in the quietest blocks as in others, and of the dictionary's kinds."""
        return self.floor > FLOOR and self.misfit < MISFIT

    @property
    def words(self) -> str:
        """Return what is correlated, in a few words."""
        r = autocovariance(self.kernel)
        middle = [side // 2 for side in r.shape]
        down, across = (
            float(r[tuple(m + (i == axis) for i, m in enumerate(middle))]) if r.shape[axis] > 1 else 0.0
            for axis in (0, 1)
        )
        parts = [f"neighbours correlate by {across:.2f} along rows and {down:.2f} along columns"]
        for name, share in (("rows", self.rows), ("columns", self.columns)):
            parts += [f"{name} share {share:.0%} of the variance"] if share else []
        return ", ".join(parts)


def find_spectrum(images: Sequence[Tensor]) -> NoiseFound | None:
    """Return the noise of `images` (C, H, W), in common units, by its spectrum; None where it cannot be told.

    Of images with too few blocks, and of those in which there is nothing at some frequencies.
    """
    several = quiet_squares(images)
    if several is None:
        return None
    squares = several[:, : max(FEWEST, round(several.shape[1] * SHARE / WIDE))]
    energy = squares.median(1).values / MEDIAN
    if not bool((energy[1:] > ROUNDING * energy[1:].max()).all()):  # as after JPEG
        return None
    weights = mixture(energy)
    halves = [mixture(half.median(1).values / MEDIAN, weights) for half in (squares[:, ::2], squares[:, 1::2])]
    levels = [math.sqrt(max(level(a), 0.0)) for a in halves]
    rougher = math.sqrt(max(level(mixture(several.median(1).values / MEDIAN, weights)), 0.0))
    model = (dictionary()[1:] @ weights).clamp_min(1e-300)
    chance = math.sqrt(math.pi / squares.shape[1])  # of a median of chi^2_1 variables, about 1.66 n^(-1/2)
    misfit = float((energy[1:] / model - 1).square().mean().sqrt()) / (1.66 / math.sqrt(math.pi) * chance)
    total = level(weights)
    rows, columns = (float(weights[i]) / total for i in (-4, -3))
    rows, columns = (share if share > LEAST else 0.0 for share in (rows, columns))
    sigma = math.sqrt(total)
    quiet, others = (squares[1:] / model[:, None]).tensor_split([squares.shape[1] // 5], 1)
    floor = float(quiet.mean(0).median() / others.mean(0).median())
    error = math.hypot((levels[0] - levels[1]) / 2, max(0.0, rougher - sigma))
    return NoiseFound(sigma, error, kernel_of(weights), rows, columns, misfit, floor)


def quiet_squares(images: Sequence[Tensor]) -> Tensor | None:
    """Return the squares (64, n) of the coefficients of the blocks whose neighbours are quietest, these first."""
    squares, rough = [], []
    axes = LOW & (_DOWN > 0) & (_ACROSS > 0), LOW & (_ACROSS == 0), LOW & (_DOWN == 0)
    for image in images:
        channels, (h, w) = len(image), (side // SIDE for side in image.shape[1:])
        if min(h, w) < 3:
            continue
        z = coefficients(image).square().reshape(SIDE**2, channels, h, w)
        inner, down, across = (z[band].mean(0) for band in axes)
        around = (9 * avg_pool2d(inner, 3, 1) - inner[:, 1:-1, 1:-1]) / 8
        # noise that a row shares is that of the blocks beside, and not of those above and below
        around = around + 0.15 * (down[:, :-2, 1:-1] + down[:, 2:, 1:-1])
        around = around + 0.15 * (across[:, 1:-1, :-2] + across[:, 1:-1, 2:])
        squares.append(z[:, :, 1:-1, 1:-1].flatten(1))
        rough.append(around.flatten())
    if not squares or sum(part.shape[1] for part in squares) < FEWEST:
        return None
    order = torch.cat(rough).argsort()
    chosen = order[: max(FEWEST, round(WIDE * len(order)))]
    return torch.cat(squares, 1)[:, chosen]


def mixture(energy: Tensor, start: Tensor | None = None) -> Tensor:
    """Return the weights a (J,) of the dictionary's members of which blocks of these energies (64,) are most likely.

    start: weights that are near.
    """
    e, members = energy[1:], dictionary()[1:]
    a = torch.full_like(members[0], float(e.mean()) / members.shape[1])
    if start is not None:
        a = 0.99 * start + 0.01 * a
    for _ in range(STEPS if start is None else STEPS // 5):
        model = members @ a
        a = a * ((members.T @ (e / model**2)) / (members.T @ (1 / model))).sqrt()
    return a


def level(weights: Tensor) -> float:
    """Return the variance of the noise in the mixture: of all but structure."""
    return float(weights[:-2].sum())


def kernel_of(weights: Tensor) -> Tensor:
    """Return the kernel (odd, odd) of the mixture without rows and columns."""
    lines = torch.stack([pad(r, ((2 * REACH + 1 - len(r)) // 2,) * 2) for r in line_autocovariances()])
    count = len(lines)
    r = torch.einsum("ij,ia,jb->ab", weights[: count**2].reshape(count, count), lines, lines)
    kernel = root_kernel(r, 2 * REACH + 1, 2 * REACH + 1)
    sides = []
    for axis in (1, 0):
        energy = kernel.square().sum(axis)
        inside = [float(energy[REACH - n : REACH + n + 1].sum()) for n in range(REACH + 1)]
        sides.append(next(n for n in range(REACH + 1) if inside[n] >= 1 - TAIL))
    down, across = sides
    kernel = kernel[REACH - down : REACH + down + 1, REACH - across : REACH + across + 1]
    return kernel / kernel.square().sum().sqrt()


@cache
def line_autocovariances() -> list[Tensor]:
    """Return the autocovariances (odd,) of noise along a line, of variance 1."""
    x = torch.arange(-REACH // 2, REACH // 2 + 1, dtype=torch.float64)
    kernels = [torch.ones(1, dtype=torch.float64), *(torch.exp(-(x**2) / (2 * s**2)) for s in BLURS)]
    kernels += [torch.tensor(g, dtype=torch.float64) for g in ([1, 1], [1, 2, 1], [1, -1])]
    return [autocovariance((g / g.norm())[None])[0] for g in kernels]


@cache
def dictionary() -> Tensor:
    """Return the energies E (64, J): separable noise, rows, columns, structure of two kinds."""
    matrix, place = dct(SIDE), torch.arange(SIDE)
    lines = []
    for r in line_autocovariances():
        lag = place[:, None] - place + len(r) // 2
        covariance = torch.where((lag >= 0) & (lag < len(r)), r[lag.clamp(0, len(r) - 1)], 0)
        lines.append(((matrix @ covariance) * matrix).sum(1))
    members = [torch.outer(down, across).flatten() for down in lines for across in lines]
    one = torch.ones(SIDE, dtype=torch.float64)
    common = SIDE * (place == 0).double()
    members += [torch.outer(one, common).flatten(), torch.outer(common, one).flatten()]
    frequency = (_DOWN**2 + _ACROSS**2).double().sqrt().clamp_min(1)
    return torch.stack([*members, frequency**-3, frequency**-4], 1)
