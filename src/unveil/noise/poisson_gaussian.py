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

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.noise.base import Mean, Noise
from unveil.noise.skewed import PROBES, skewed_probe
from unveil.random import normal
from unveil.shapes import expand, per_sample

__all__ = ["PoissonGaussian"]


@dataclass(frozen=True, eq=False)
class PoissonGaussian(Noise):
    """Poisson counts times a gain, with an offset and Gaussian read noise, on every measured entry of y.

    gain: what one photon adds to y. read: the deviation of y in the dark. offset: the mean of y in the dark. All in the
        units of y, a number or one per sample (B,).
    Raises UnveilError unless every gain and read is finite and > 0, and every offset finite.
    """

    gain: float | Tensor
    read: float | Tensor
    offset: float | Tensor = 0.0
    probes = PROBES

    def __post_init__(self) -> None:
        self._positive("gain", "what one photon adds to a measurement")
        self._positive("read", "the deviation in the dark, or noise.kind=poisson where there is none")
        self._finite("offset", "the mean of the data in the dark")

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        gain, read, offset = self._of(u)
        photons = torch.poisson((u - offset).clamp_min(0) / gain, generator)
        return offset + gain * photons + read * normal(u, generator)

    def exposed(self, t: float | Tensor) -> "PoissonGaussian":
        t = torch.as_tensor(t)
        gain, read = (torch.as_tensor(value).to(t.device) for value in (self.gain, self.read))
        return PoissonGaussian(gain / t, read * t**-0.5, self.offset)

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        gain, read, offset = self._of(y)
        share = expand(per_sample(t, y, "t"), y).clamp(0, 1).expand_as(y)
        counts = ((y - offset) / gain).round()
        kept, missing = torch.binomial(counts.clamp_min(0), share, generator), counts.clamp_max(0)
        variance = (read**2 + gain**2 * missing).clamp_min(0)
        left = y - offset - gain * counts.clamp_min(0)
        fresh = ((1 / share - 1) * variance).sqrt() * normal(y, generator)
        return offset + gain / share * kept + left + fresh

    def scaled(self, a: float | Tensor) -> "PoissonGaussian":
        a = torch.as_tensor(a)
        return PoissonGaussian(
            *(torch.as_tensor(value).to(a.device) * a for value in (self.gain, self.read, self.offset))
        )

    def shifted(self, mu: float) -> "PoissonGaussian":
        return PoissonGaussian(self.gain, self.read, torch.as_tensor(self.offset) + mu)

    def variance(self, u: Tensor) -> Tensor:
        """Return gain (u - offset) + read^2 (B, ...).

        Of data far below the offset it is negative, so that its mean is right.
        """
        gain, read, offset = self._of(u)
        return gain * (u - offset) + read**2

    def _probe(self, y: Tensor, mean: Mean, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        gain, read, _ = self._of(y)
        v = self.variance(y)
        scale = torch.maximum(v, read**2)
        return skewed_probe(v, -gain * (1 + read**2 / scale), generator, scale)

    def _of(self, y: Tensor) -> list[Tensor]:
        """Return the gain, the read noise and the offset, each to be multiplied with y (B, ...)."""
        named = {"gain": self.gain, "read": self.read, "offset": self.offset}
        return [expand(per_sample(value, y, name), y) for name, value in named.items()]
