"""Does the noise leave the law of the signals to be found?

y = u + n has the characteristic function

    phi_y(t) = phi_u(t) phi_n(t),    phi_n(t) = E exp(i t n)

so that phi_u, and with it the law of u, is known from that of y wherever phi_n is not zero (J. Tachella, D. Chen, M.
Davies 2023, https://jmlr.org/papers/v24/22-0315.html). A zero of phi_n hides a wave in the law of u, for good. Noise
that depends on u, such as Poisson's, is no convolution; its argument is its own. Where there is no zero the number of
samples may still be forbidding: of Gaussian noise phi_n(t) = exp(-t^2 / 2), so that fine detail of the law of u takes
exponentially many.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["FAMILIES", "Family", "first_zero", "noise_family"]


@dataclass(frozen=True)
class Family:
    """A family of noise.

    phi: t (T,) -> E exp(i t n) (T,), complex, of one entry, of standard deviation 1 (Poisson: of mean u = 1, y = its
    counts; gamma: of log y at one look and u = 1; rician: of y^2 at u = sigma; salt-and-pepper: a quarter hit, u in the
    middle). invertible: whether the law of the signals follows from that of the measurements. why: one sentence.
    instead: what to do, where nothing here learns from such noise; empty where it does.
    """

    phi: Callable[[Tensor], Tensor]
    invertible: bool
    why: str
    instead: str = ""

    @property
    def refusal(self) -> str:
        """Why nothing here learns from such noise, and the way out: one line."""
        hidden = "" if self.invertible else "what it hides cannot be learned, for "
        return f"not supported: {hidden}{self.why}; {self.instead}"


def _complex(x: Tensor) -> Tensor:
    return torch.complex(x, torch.zeros_like(x))


def _poisson(t: Tensor) -> Tensor:
    return torch.exp(torch.complex(t.cos() - 1, t.sin()))


def _gamma_function(t: Tensor) -> Tensor:
    """Return Gamma(1 + i t), by Stirling's series ten steps up."""
    z = torch.complex(torch.ones_like(t), t)
    up = z + 10
    series = (up - 0.5) * up.log() - up + 0.5 * math.log(2 * math.pi) + 1 / (12 * up) - 1 / (360 * up**3)
    return (series - sum((z + k).log() for k in range(10))).exp()


def _noncentral(t: Tensor) -> Tensor:
    """Return E exp(i t y^2) of y = |1 + n|, n complex, each part of deviation 1."""
    pole = torch.complex(torch.ones_like(t), -2 * t)
    return torch.exp(torch.complex(torch.zeros_like(t), t) / pole) / pole


FAMILIES: dict[str, Family] = {
    "gaussian": Family(
        lambda t: _complex(torch.exp(-t.square() / 2)),
        True,
        "exp(-t^2 / 2) has no zero, but is so small at large t that fine detail of the signals' law needs many samples",
    ),
    "laplace": Family(
        lambda t: _complex(1 / (1 + t.square() / 2)),
        True,
        "1 / (1 + t^2 / 2) has no zero",
        "no loss here is for it: average exposures, whose noise is nearly Gaussian, and state noise.kind=gaussian",
    ),
    "poisson": Family(
        _poisson,
        True,
        "E s^y is the Laplace transform of the law of the clean counts at 1 - s, known for 0 < s < 1, which determines "
        "it",
    ),
    "poisson-gaussian": Family(
        lambda t: _poisson(t) * torch.exp(-t.square() / 2),
        True,
        "the Gaussian part has a characteristic function without zeros, and Poisson counts determine the signals' law",
    ),
    "correlated": Family(
        lambda t: _complex(torch.exp(-t.square() / 2)),
        True,
        "exp(-t^T C t / 2) has no zero, whatever the covariance C",
    ),
    "uniform": Family(
        lambda t: _complex(torch.sinc(math.sqrt(3) * t / math.pi)),
        False,
        "sin(a t) / (a t) is zero at every t = k pi / a, a half its width: those waves in the signals' law are not in "
        "the data",
        "if it is rounding, use the values from before it",
    ),
    "triangular": Family(
        lambda t: _complex(torch.sinc(math.sqrt(6) / 2 * t / math.pi).square()),
        False,
        "it is the sum of two uniform ones, and (sin(a t) / (a t))^2 is zero at every t = k pi / a",
        "if it is rounding and dither, use the values from before them",
    ),
    "two-valued": Family(
        lambda t: _complex(t.cos()),
        False,
        "cos(a t), of noise that is a or -a, is zero at t = pi / (2 a) and on",
        "measure with noise of another kind",
    ),
    "gamma": Family(
        lambda t: _gamma_function(math.sqrt(6) / math.pi * t),
        True,
        "it adds log G to log u, and E exp(i t log G) = Gamma(L + i t) / (Gamma(L) L^(i t)) has no zero",
    ),
    "rician": Family(
        lambda t: _noncentral(t / math.sqrt(8)),
        True,
        "the law of y^2 tells that of u^2, but the mean of a magnitude is not the signal, and no loss here is unbiased "
        "for it",
        "use the complex images, real and imaginary part as two channels, with noise.kind=gaussian",
    ),
    "salt-and-pepper": Family(
        lambda t: _complex(0.75 + 0.25 * (2 * t).cos()),
        True,
        "the law of y is a known mixture of that of u and of the two ends, but an entry that is hit holds nothing of "
        "the signal",
        "take values at the ends of the range for missing ones: operator.kind=inpainting, with a mask for each image",
    ),
}
"""Name -> family."""


def noise_family(name: str) -> Family:
    """Return the family of that name.

    Raises UnveilError for a name that is not known.
    """
    family = FAMILIES.get(name.lower().replace("_", "-"))
    if family is None:
        raise UnveilError(f"there is no noise family {name!r} to judge; use {', '.join(FAMILIES)}")
    return family


def first_zero(phi: Callable[[Tensor], Tensor], largest: float = 12.0, count: int = 12001) -> float | None:
    """Return the first zero of phi in (0, largest], found on a grid of `count` points; None without one.

    Every local minimum of |phi| is looked at between its neighbours, a thousand times finer: at a zero |phi| falls
    below 1e-4 of what it is at the neighbours.
    """
    t = torch.linspace(0, largest, count, dtype=torch.float64)
    modulus = phi(t).abs()
    lower = (modulus[1:-1] <= modulus[:-2]) & (modulus[1:-1] <= modulus[2:])
    for i in (1 + lower.nonzero()[:, 0]).tolist():
        fine = torch.linspace(float(t[i - 1]), float(t[i + 1]), 200_001, dtype=torch.float64)
        values = phi(fine).abs()
        if float(values.min()) < 1e-4 * float(torch.maximum(values[0], values[-1])):
            return float(fine[values.argmin()])
    return None
