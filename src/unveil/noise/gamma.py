"""Speckle: y = u G, G ~ Gamma of shape L and mean 1, so that E[y | u] = u and var(y | u) = u^2 / L.

    y_t = u Gamma(L t) / (L t),     from y:  y_t = y B / t,  B ~ Beta(L t, L (1 - t))

L, the number of looks, is that of independent waves in an intensity, of SAR, ultrasound or OCT (Goodman 1976,
https://doi.org/10.1364/JOSA.66.001145). B y and (1 - B) y are independent Gamma variables (Lukacs 1955,
https://doi.org/10.1214/aoms/1177728549): two views, as for learning in Monroy, Bacca and Tachella 2025,
https://arxiv.org/abs/2412.04648. The variance is not affine in u; but E[y^2] = (1 + 1 / L) u^2, and so

    y^2 / (L + 1)  estimates  u^2 / L  without bias.

Stein's identity. By parts, E[(y_i - u_i) h_i] = E[u_i y_i dh_i / dy_i] / L; and u E[k(y)] = E[y k(b y)] for b ~
Beta(L, 1). Together, exactly and without u,

    E[(y_i - u_i) h_i(y)] = E[y_i (h_i(y) - h_i(y - (1 - b_i) y_i e_i))],     b_i ~ Beta(L, 1)

as Hudson's for counts, with a step that is random. In the first order of 1 - b it is E[y_i^2 dh_i / dy_i] / (L + 1),
exact for h_i affine in y_i, and off by E[y_i^3 d^2 h_i / dy_i^2] / ((L + 1) (L + 2)) otherwise: up to a quarter of the
noise's variance at 1 to 10 looks. The skewed probe (`unveil.noise.skewed`) of length d = -2 y / (L + 2) has both terms.

Going on measuring is not exact as dt -> 0, for increments of variance E[u^2 | y_t] / L are drawn with E[u | y_t]^2 / L.
Of 1 / u Gamma(4) samples have 16 to 18% too little variance at 1 look, 6 to 8% at 4, 4% at 16, 2% at 64, and the right
mean; of narrower and of bimodal u 1 to 9%.

Amplitudes (of Nakagami's law, the roots of intensities) are to be squared first, and log-compressed images, as most of
OCT and ultrasound, to be undone by exp() of what the compression multiplied: speckle is Gamma in intensity alone.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.base import Mean, Noise
from unveil.noise.skewed import skewed_probe
from unveil.shapes import expand, per_sample, times

__all__ = ["Gamma"]

SHARE = 0.02
"""r of the skewed probe: larger than for counts, for losses to scatter less; `unveil.evaluation.risk` asks for less."""


@dataclass(frozen=True, eq=False)
class Gamma(Noise):
    """Gamma variables of mean 1 times u, on every measured entry of y, an intensity >= 0 of which 0 is none.

    looks: L, how many independent speckles were averaged, (mean / deviation)^2 of y where u is flat; a number or one
        per sample (B,), without unit.
    Raises UnveilError unless every L is finite and > 0.

    Means over k x k pixels are taken for k^2 times the looks: true where u is smooth, and too many where it is not.
    """

    looks: float | Tensor
    unknown = MappingProxyType({"looks": ()})

    def __post_init__(self) -> None:
        self._positive("looks", "the number of looks that were averaged")

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        looks = self._looks(u).expand_as(u).contiguous()
        return u.clamp_min(0) * torch._standard_gamma(looks, generator=generator) / looks

    def exposed(self, t: float | Tensor) -> "Gamma":
        return Gamma(times(self.looks, t))

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        share, looks = expand(per_sample(t, y, "t"), y).clamp(0, 1), self._looks(y)
        kept, taken = (_log_gamma((looks * part).expand_as(y), generator) for part in (share, 1 - share))
        return y * (kept - taken).sigmoid() / share

    def scaled(self, a: float | Tensor) -> "Gamma":
        """Return the same noise: a factor does not change how many looks there are. Raises UnveilError unless a > 0."""
        a = torch.as_tensor(a)
        if not bool((a > 0).all()):
            raise UnveilError(f"a factor of the data is {float(a[~(a > 0)].flatten()[0]):g}: it must be > 0")
        return self

    def variance(self, u: Tensor) -> Tensor:
        return u**2 / self._looks(u)

    @property
    def log_variance(self) -> Tensor:
        return torch.polygamma(1, torch.as_tensor(self.looks, dtype=torch.float64)).reshape(-1)

    def estimated_variance(self, y: Tensor) -> Tensor:
        return y**2 / (self._looks(y) + 1)

    def level(self, y: Tensor, mean: Mean) -> Tensor:
        """Return sigma (B,), the root of the mean variance; of an image that is all 0, that of the brightest beside it.

        A weight 1 / sigma^2 must not be infinite.
        """
        variance = mean(self.estimated_variance(y))
        most = variance.max()
        return torch.where(variance > 0, variance, torch.where(most > 0, most, torch.ones_like(most))).sqrt()

    def probe(self, y: Tensor, mean: Mean, generator: torch.Generator, most: float = math.inf) -> tuple[Tensor, Tensor]:
        return skewed_probe(
            self.estimated_variance(y), -2 * y / (self._looks(y) + 2), generator, share=min(SHARE, most)
        )

    def _looks(self, y: Tensor) -> Tensor:
        return expand(per_sample(self.looks, y, "looks"), y)


def _log_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the logarithms of Gamma variables of shapes >= 0.

    G(a) ~ G(a + 1) U^(1 / a) (Marsaglia and Tsang 2000, https://doi.org/10.1145/358407.358414) would underflow.
    """
    above = torch._standard_gamma(shape + 1, generator=generator)
    e = torch.empty_like(above).exponential_(generator=generator)
    return above.log() - e.clamp_min(torch.finfo(e.dtype).tiny) / shape
