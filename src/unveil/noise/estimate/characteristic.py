"""The law of noise of one brightness, by its characteristic function: what is seen of it, and what a family makes.

The logarithm K(t) of that of y - m is, of variance v and mean m,

    Gaussian    -v t^2 / 2
    counts      (m / gain) (e^(i gain t) - 1 - i gain t)
    speckle     -L log(1 - i m t / L) - i m t
    a camera's  that of counts of mean m - offset, and the Gaussian one of read^2

and of y less the mean of its block of n = 64 pixels K((1 - 1 / n) t) + (n - 1) K(-t / n): light that changes a little
over the image is no matter, and few values far off, as of hot pixels, hardly count. D is the square of the distance
from what was seen at TIMES / v^(1/2).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import unfold

from unveil.noise.estimate.blocks import SIDE

__all__ = ["Cumulants", "Seen", "camera", "counted", "gaussian", "speckle"]

TIMES = (0.5, 1.0, 1.5, 2.0)
MOST, GROUPS = 50_000, 40
"""Blocks of an image at most, and parts of them all by which moments are seen to scatter."""

Cumulants = Callable[[Tensor], Tensor]
"""t (T,) -> K(t) (T,), complex."""


def gaussian(v: float) -> Cumulants:
    """Return K of Gaussian noise of variance v."""
    return lambda t: (-v * t**2 / 2).to(torch.complex128)


def counted(gain: float, mean: float) -> Cumulants:
    """Return K of counts."""
    return lambda t: mean / gain * (torch.exp(1j * gain * t) - 1 - 1j * gain * t)


def speckle(mean: float, looks: float) -> Cumulants:
    """Return K of speckle."""
    return lambda t: -looks * torch.log(1 - 1j * mean * t / looks) - 1j * mean * t


def camera(v: float, third: float, rho: float) -> Cumulants:
    """Return K of a camera's noise of variance v and third cumulant `third`, of which rho v is that of read noise."""
    gain, signal = third / ((1 - rho) * v), ((1 - rho) * v) ** 2 / third
    return lambda t: counted(gain, signal)(t) + gaussian(rho * v)(t)


class Seen:
    """What is seen of the values of images (C, H, W): the least of them, moments, and the characteristic function.

    moments: mean, variance and third cumulant (3,). count: of blocks; of less than GROUPS moments are NaN. chance: what
    it makes of D, about.
    """

    def __init__(self, images: Sequence[Tensor]) -> None:
        values, n = torch.cat([_blocks(image) for image in images], 1), SIDE**2
        self.count = values.shape[1]
        self.least, mean = float(values.min()), values.mean(0)
        rest = values - mean
        third = rest.pow(3).sum(0) * n / ((n - 1) * (n - 2))
        each = torch.stack([mean, rest.square().sum(0) / (n - 1), third])
        self.groups = torch.stack([each[:, i::GROUPS].mean(1) for i in range(GROUPS)], 1)
        self.moments = self.groups.mean(1)
        self.times = torch.tensor(TIMES, dtype=torch.float64) / self.moments[1].sqrt()
        self.found = torch.stack([torch.polar(torch.ones_like(rest), t * rest).mean() for t in self.times])
        self.chance = float((1 - self.found.abs().square()).sum()) / values.numel()

    def distance(self, law: Cumulants) -> float:
        """Return D."""
        n, t = SIDE**2, self.times
        expected = (law((1 - 1 / n) * t) + (n - 1) * law(-t / n)).exp()
        return float((self.found - expected).abs().square().sum())

    def error(self, f: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the standard error (...) of f(moments), f: (3, ...) to (..., ...), by the jackknife."""
        values = f(self.moments[:, None] + (self.moments[:, None] - self.groups) / (GROUPS - 1))
        return values.std(-1) * (GROUPS - 1) / math.sqrt(GROUPS)


def _blocks(image: Tensor) -> Tensor:
    """Return the values (64, N) of blocks of an image (C, H, W)."""
    whole = unfold(image.double()[:, None], SIDE, stride=SIDE).movedim(1, 0).flatten(1)
    return whole[:, :: -(-whole.shape[1] // MOST)]
