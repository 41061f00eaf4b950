"""Counted photons, read out: y = gain k + offset + read n, k ~ Poisson((u - offset) / gain), n ~ N(0, 1).

E[y | u] = u and var(y | u) = gain (u - offset) + read^2: the camera of Janesick 2007, Photon Transfer (SPIE,
https://doi.org/10.1117/3.725073), as in Foi et al. 2008 (https://doi.org/10.1109/TIP.2008.2001399). At exposure t

    y_t = offset + (gain / t) Poisson(t (u - offset) / gain) + read t^(-1/2) n.

y alone does not tell k from n, so no y_t drawn from it is exact. With k' the whole number nearest to
(y - offset) / gain, and e what is left of it, the counts are thinned and the rest is taken for read noise:

    t (y_t - offset) = gain Binomial(k', t) + t e + (t (1 - t))^(1/2) read w,    w ~ N(0, 1)

Rounding is symmetric about every k, so E[k' | k] = k: mean and variance are exact, and the covariance with y_rest is 0.
Where k' < 0 there is nothing to thin, and gain^2 k' is taken from the variance of w as far as that goes: without signal
the variance of t (y_t - offset) is too large by .12 gain^2 t (1 - t) at most (at read = gain / 2), and hardly from one
photon on. What is not exact are third moments: E[(y_t - u)^2 (y_rest - u)] is up to gain read^2 (1 - 3 t) / t, which
vanishes for read << gain, where k' = k, and is small against the noise's own scale for read >> gain.

Stein's identity for n and Hudson's for k (Le Montagner, Angelini and Olivo-Marin 2014,
https://doi.org/10.1109/TIP.2014.2322033) give, with v = gain (y - offset) + read^2,

    E[(y_i - u_i) h_i(y)] = E[(y_i - offset) (h_i(y) - h_i(y - gain e_i)) + read^2 h_i'(y - gain e_i)]
                          = E[v_i h_i' - gain (v_i + read^2) h_i'' / 2 + ...]

by entry: a skewed probe (`unveil.noise.skewed`) of length d = -gain (1 + read^2 / v). Where v < read^2, below the
offset, the length stays that of read^2, -2 gain, and in the dark E[gain (read^2 - v)_+ h''] / 2 is lost: .17 of the
variance for a square at half a photon and read = gain / 2, under .03 of it for estimators that bend and straighten.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.errors import UnveilError
from unveil.noise.base import Mean, Noise
from unveil.noise.pattern import Pattern
from unveil.noise.skewed import SHARE, skewed_probe
from unveil.random import binomial, normal, poisson
from unveil.shapes import expand, per_entry, per_sample, times

__all__ = ["PoissonGaussian"]

LEAST = 0.01
"""Of the squared read noise: what is left of it at least where gain and offset go together."""


@dataclass(frozen=True, eq=False)
class PoissonGaussian(Noise):
    """Poisson counts times a gain, with an offset and Gaussian read noise, on every measured entry of y.

    gain: what one photon adds to y. read: the deviation of y in the dark. offset: the mean of y in the dark. All in the
        units of y, a number, one per sample (B,), or a map of the pixels, as of an sCMOS camera: (H, W), (C, H, W),
        (1, C, H, W), or (B, C, H, W). `pattern` takes maps of gain and offset off the images, `corrected` is the noise
        of these.
    Raises UnveilError unless every gain and read is finite and > 0, and every offset finite.
    """

    gain: float | Tensor
    read: float | Tensor
    offset: float | Tensor = 0.0
    maps = True
    unknown = MappingProxyType({"gain": (), "read": ()})

    def __post_init__(self) -> None:
        self._positive("gain", "what one photon adds to a measurement")
        self._positive("read", "the deviation in the dark, or noise.kind=poisson where there is none")
        self._finite("offset", "the mean of the data in the dark")
        sizes = {tuple(value.shape[2:]) for value in vars(self).values() if value.ndim == 4}
        if len(sizes) > 1:
            raise UnveilError(f"gain, read and offset are maps of {sorted(sizes)} pixels: give them of one size")

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        gain, read, offset = self._of(u)
        photons = poisson((u - offset).clamp_min(0) / gain, generator)
        return offset + gain * photons + read * normal(u, generator)

    def exposed(self, t: float | Tensor) -> "PoissonGaussian":
        t = torch.as_tensor(t)
        return PoissonGaussian(times(self.gain, 1 / t), times(self.read, t**-0.5), self.offset)

    def coarser(self, k: int | Tensor) -> "PoissonGaussian":
        """Return the noise of means over k x k pixels; of maps, of one k for all samples.

        Their variance, where u is the same in all, is, with means over the k^2 pixels,

            mean(g (u - o) + r^2) / k^2 = [mean(g) (u - mean(o)) + mean(r^2) - cov(g, o)] / k^2,

        that of the gain mean(g) / k^2, the offset mean(o), and what is left as read noise. Where u is not, cov(g, u) is
        missing; third moments are those of equal gains.
        """
        if not self.mapped:
            return self.exposed(k**2)
        values = [torch.as_tensor(value) for value in (self.gain, self.read, self.offset)]
        shape = torch.broadcast_shapes(*(value.shape for value in values if value.ndim == 4))
        gain, read, offset = (_spread(value, shape) for value in values)
        k = int(k)
        g, o, square = avg_pool2d(gain, k), avg_pool2d(offset, k), avg_pool2d(read**2, k)
        left = torch.maximum(square - avg_pool2d(gain * offset, k) + g * o, LEAST * square)
        return PoissonGaussian(g / k**2, left.sqrt() / k, o)

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        gain, read, offset = self._of(y)
        share = expand(per_sample(t, y, "t"), y).clamp(0, 1)
        counts = ((y - offset) / gain).round()
        kept, missing = binomial(counts.clamp_min(0), share, generator), counts.clamp_max(0)
        variance = (read**2 + gain**2 * missing).clamp_min(0)
        left = y - offset - gain * counts.clamp_min(0)
        fresh = ((1 / share - 1) * variance).sqrt() * normal(y, generator)
        return offset + gain / share * kept + left + fresh

    def scaled(self, a: float | Tensor) -> "PoissonGaussian":
        return PoissonGaussian(*(times(value, a) for value in (self.gain, self.read, self.offset)))

    @property
    def pattern(self) -> Pattern | None:
        gain, offset = torch.as_tensor(self.gain), torch.as_tensor(self.offset)
        if gain.ndim < 4 and offset.ndim < 4:
            return None
        factor = _middle(gain) / gain
        shift = _middle(offset) - factor * offset
        shape = torch.broadcast_shapes(factor.shape, shift.shape)
        if len(shape) != 4 or shape[0] != 1:
            raise UnveilError("gain and offset are of single images and of pixels: a detector has one map of each")
        return Pattern(factor.expand(shape), shift.expand(shape))

    @property
    def corrected(self) -> "PoissonGaussian":
        gain, read, offset = (torch.as_tensor(value) for value in (self.gain, self.read, self.offset))
        if self.pattern is None:
            return self
        if gain.ndim == 4:
            read = (read if read.ndim == 4 else read.reshape(-1, 1, 1, 1)) * (_middle(gain) / gain)
        return PoissonGaussian(_middle(gain), read, _middle(offset))

    def shifted(self, mu: float) -> "PoissonGaussian":
        return PoissonGaussian(self.gain, self.read, torch.as_tensor(self.offset) + mu)

    def variance(self, u: Tensor) -> Tensor:
        """Return gain (u - offset) + read^2 (B, ...).

        Of data far below the offset it is negative, so that its mean is right.
        """
        gain, read, offset = self._of(u)
        return gain * (u - offset) + read**2

    def probe(self, y: Tensor, mean: Mean, generator: torch.Generator, most: float = math.inf) -> tuple[Tensor, Tensor]:
        gain, read, _ = self._of(y)
        v = self.variance(y)
        scale = torch.maximum(v, read**2)
        return skewed_probe(v, -gain * (1 + read**2 / scale), generator, scale, min(SHARE, most))

    def _of(self, y: Tensor) -> list[Tensor]:
        """Return the gain, the read noise and the offset, each to be multiplied with y (B, ...)."""
        named = {"gain": self.gain, "read": self.read, "offset": self.offset}
        return [per_entry(value, y, name) for name, value in named.items()]


def _middle(value: Tensor) -> Tensor:
    return value.median() if value.ndim == 4 else value


def _spread(value: Tensor, shape: torch.Size) -> Tensor:
    """Return a number, one per sample or a map as a map (n, *shape[1:])."""
    value = value if value.ndim == 4 else value.reshape(-1, 1, 1, 1)
    return value.expand(len(value), *shape[1:]).contiguous()
