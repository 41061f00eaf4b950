"""Dilations: images of the same things from other distances, T_z x(u) = x(c + (u - c) / z), c the centre.

By trigonometric interpolation: with N the side, b = N min(z, 1) and w_k = clamp((b + 1) / 2 - |k|, 0, 1),

    T_z = P_z along both axes,   P_z[i, j] = (1 / N) sum_k w_k exp(2 pi i k (c + (i - c) / z - j) / N)

which is the identity at z = 1. In the Fourier plane T_z x(k) ~ x(z k): for z < 1 the plane of the smaller image is the
central crop of that of x, |k| <= z N / 2, stretched to N / 2. To a scanner that is the centre of k-space, to an
interferometer the short baselines. Where the smaller image ends, zeros stand: right for objects on empty ground, and
for photographs see `unveil.training.batches`, which crops instead.

White noise of level sigma comes out with level z sigma and white for z <= 1, where the smaller image is: the crop takes
noise energy z^2 and spreads it over z^2 of the pixels. (The last frequency of the crop, taken with weight w_k, makes
that exact where b is an odd number of pixels, and 1 / (2 b) too high at most elsewhere.) Of z > 1 the level stays
sigma, and the noise is smooth.
"""

import math

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import uniform
from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Scale"]


class Scale(Symmetry):
    """Dilations by z log-uniform in [low, high]. g = (z,): below 1 things get smaller, above 1 larger.

    The default only shrinks: a magnified image has no details of its new pixel size, as a measured one has.
    Raises UnveilError unless 0 < low < high.
    """

    orthogonal = False
    interpolates = True

    def __init__(self, low: float = 0.5, high: float = 1.0) -> None:
        if not 0 < low < high < math.inf:
            raise UnveilError(f"the factors of a scales need 0 < low < high, not low = {low}, high = {high}")
        self.low = low
        self.high = high

    def order(self, image_shape: tuple[int, ...]) -> float:
        return math.inf

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        like = torch.empty(len(x), 1, dtype=element_dtype(x), device=x.device)
        return self._factors(uniform(like, 0.0, 1.0, generator))

    def cover(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` factors at equal ratios, the first one drawn."""
        offset = torch.rand(1, generator=generator, dtype=element_dtype(x), device=x.device)
        steps = (torch.arange(count, dtype=offset.dtype, device=x.device) + offset) / count
        return self._factors(steps[:, None])

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        z = g[:, 0].to(element_dtype(x))
        down, across = (_resample(side, z)[:, None] for side in x.shape[-2:])
        return (down @ x.to(z.dtype) @ across.mT).to(x.dtype)

    def noise_factor(self, g: Tensor) -> Tensor:
        return g[:, 0].clamp(max=1)

    def _factors(self, u: Tensor) -> Tensor:
        """Return z of u in [0, 1]."""
        return self.low * (self.high / self.low) ** u


def _resample(side: int, z: Tensor) -> Tensor:
    """Return P_z (B, side, side) of z (B,)."""
    at = torch.arange(side, dtype=z.dtype, device=z.device)
    centre = (side - 1) / 2
    places = centre + (at - centre) / z[:, None]  # (B, side)
    k = torch.arange(side // 2 + 1, dtype=z.dtype, device=z.device)
    weights = ((side * z.clamp(max=1)[:, None] + 1) / 2 - k).clamp(0, 1) * torch.where(k > 0, 2.0, 1.0) / side  # (B, K)
    out = 2 * math.pi / side * places[..., None] * k  # (B, side, K)
    into = 2 * math.pi / side * at[:, None] * k
    kernel = (out.cos() * weights[:, None]) @ into.cos().mT + (out.sin() * weights[:, None]) @ into.sin().mT
    seen = (places > -0.5) & (places < side - 0.5)
    return kernel * seen[..., None]
