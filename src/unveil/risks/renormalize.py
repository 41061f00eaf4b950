"""Normalization equivariance by the loss: the same risk of randomly rescaled measurements.

If a x + mu 1 is as likely a signal as x, then y' = a y + mu A 1 = A (a x + mu 1) + a n is a valid measurement at the
lower level a sigma, so a risk at (y', a sigma) teaches f below the noise. Around SURE this is N-SURE
(Levac, Pereyra, Tamir and Tachella 2026, https://arxiv.org/abs/2510.11964); around R2R it takes one pass.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.risks.base import Estimator, Risk
from unveil.risks.laws import NormalizationLaw
from unveil.shapes import expand

__all__ = ["PairLaw", "Renormalize", "renormalize"]

PairLaw = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(sigma (B,), generator) -> a (B,) > 0 and mu (B,), in the units of x."""


class Renormalize(Risk):
    """risk(f, a y + mu A 1, a sigma), (a, mu) drawn per sample: estimates |A (f(y') - x')|^2 / m, x' = a x + mu 1.

    risk: any risk; the problem (operator, mask) is the one that it was built with.
    law:  (sigma (B,), generator) -> (a (B,) > 0, mu (B,) in the units of x).
    """

    def __init__(self, risk: Risk, law: PairLaw | None = None) -> None:
        super().__init__(risk.problem)
        self.risk = risk
        self.law = law or NormalizationLaw()
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        a, mu = self.law(sigma, generator)
        renormalized = expand(a, y) * y + expand(mu, y) * self.problem.ones(y)
        return self.risk(f, renormalized, a * sigma, generator)


def renormalize(risk: Risk, law: PairLaw | None = None) -> Renormalize:
    """N-SURE is `renormalize(SURE())`."""
    return Renormalize(risk, law)
