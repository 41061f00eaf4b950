"""Low-pass kernels that leave white noise white: how an image is seen at k times the scale.

A kernel h_0, ..., h_{n-1} of sum one is applied along both axes and every k-th sample is kept, without padding:

    z_ij = sum_ab h_a h_b y_{k i + a, k j + b}

If y has independent noise of deviation sigma, the noise of z has deviation sigma |h|^2 (|h| along each axis), and the
correlation rho_d rho_e between samples d rows and e columns apart,

    rho_d = sum_a h_a h_{a + k d} / |h|^2.

It is white, as every risk needs it, if and only if rho_d = 0 for d != 0. With sum one and a smooth h that is the
condition on an orthonormal scaling filter (Daubechies 1988, https://doi.org/10.1002/cpa.3160410705): means over blocks
(Haar), and the longer filters, which alias less. Binomial, Gaussian and bilinear kernels do not meet it.
Padding would weigh some noise twice at the border and correlate it there: only whole kernels are applied.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["Kernel", "LowPass", "box", "daubechies4"]

TOLERANCE = 1e-6
"""Of the sum of the taps and of rho_d: taps may be given in single precision."""


@dataclass(frozen=True)
class LowPass:
    """The taps h along both axes, then every `step`-th sample: y (B, C, H, W) -> z (B, C, size(H), size(W)).

    taps: h, of sum one. step: k >= 1.
    Raises UnveilError when the taps do not sum to one, or when the noise of z would be correlated.
    """

    taps: tuple[float, ...]
    step: int

    def __post_init__(self) -> None:
        if self.step < 1:
            raise UnveilError(f"a low-pass kernel keeps every k-th sample, k an integer >= 1, not {self.step}")
        if not abs(sum(self.taps) - 1) < TOLERANCE:  # NaN is wrong too
            raise UnveilError(
                f"the taps of a low-pass kernel sum to {sum(self.taps):.6g}: divide them by it, for sum one"
            )
        distance, correlation = self.worst_correlation()
        if abs(correlation) > TOLERANCE:
            raise UnveilError(
                f"this kernel leaves noise with correlation {correlation:.3g} between samples {distance} apart, and "
                f"risks need it white: use box({self.step}), or daubechies4(k) for k = 2, 4, 8"
            )

    @property
    def gain(self) -> float:
        """|h|^2: the noise level of z by that of y; 1 / k of box and Daubechies kernels."""
        return math.fsum(h * h for h in self.taps)

    def worst_correlation(self) -> tuple[int, float]:
        """(d, rho_d) of the largest |rho_d|, d >= 1; (0, 0.0) if the taps are too few to correlate anything."""
        found = [
            (d, math.fsum(a * b for a, b in zip(self.taps, self.taps[d * self.step :])) / self.gain)
            for d in range(1, (len(self.taps) - 1) // self.step + 1)
        ]
        return max(found, key=lambda pair: abs(pair[1]), default=(0, 0.0))

    def size(self, side: int) -> int:
        """How many samples `side` pixels give; 0 or less if they are fewer than the taps."""
        return (side - len(self.taps)) // self.step + 1

    def extent(self, size: int) -> int:
        """How many pixels `size` samples take."""
        return (size - 1) * self.step + len(self.taps)

    def __call__(self, y: Tensor) -> Tensor:
        if len(set(self.taps)) == 1 and len(self.taps) == self.step:
            return F.avg_pool2d(y, self.step)  # the same, several times faster
        h = torch.tensor(self.taps, dtype=y.dtype, device=y.device)
        for axis in (-2, -1):
            y = y.unfold(axis, len(self.taps), self.step) @ h
        return y


Kernel = Callable[[int], LowPass]
"""A family of kernels, one for each scale k."""


def box(k: int) -> LowPass:
    """Means over k x k blocks."""
    if k < 1:
        raise UnveilError(f"a block has a side >= 1, not {k}")
    return LowPass((1 / k,) * k, k)


def daubechies4(k: int) -> LowPass:
    """The scaling filter of Daubechies with four taps (two vanishing moments), iterated: k = 1, 2, 4, 8, ...

    Of 3 k - 2 taps; it passes less of what lies above the new Nyquist frequency than block means do.
    """
    if k < 1 or k & (k - 1):
        raise UnveilError(f"daubechies4 shrinks by powers of two, not by {k}: use box({k}), or another factor")
    root = math.sqrt(3)
    once = [(1 + root) / 8, (3 + root) / 8, (3 - root) / 8, (1 - root) / 8]
    taps, step = [1.0], 1
    while step < k:  # the filter of a filtered and shrunk image: h * (h with step - 1 zeros between its taps)
        longer = [0.0] * (len(taps) + 3 * step)
        for i, a in enumerate(taps):
            for j, b in enumerate(once):
                longer[i + j * step] += a * b
        taps, step = longer, 2 * step
    return LowPass(tuple(taps), k)
