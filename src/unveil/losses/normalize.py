"""Normalization equivariance by the loss: the same loss of randomly rescaled measurements.

If a x + mu 1 is as likely a signal as x, then y' = a y + mu A 1 = A (a x + mu 1) + a n is a valid measurement at the
lower level a sigma, so a loss of y' teaches f below the noise. Around `Stein` this is N-SURE
(Levac, Pereyra, Tamir and Tachella 2026, https://arxiv.org/abs/2510.11964); around `Recorruption` it takes one pass.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.losses.base import Loss
from unveil.losses.laws import NormalizationLaw
from unveil.measurement import Estimator, Measurement

__all__ = ["Normalize", "PairLaw"]

PairLaw = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(like (B,), generator) -> a (B,) > 0 and mu (B,), in the units of x."""


class Normalize(Loss):
    """The loss of a y + mu A 1, (a, mu) drawn per sample: estimates |A (f(y') - x')|^2 / m, x' = a x + mu 1."""

    def __init__(self, loss: Loss, law: PairLaw | None = None) -> None:
        self.loss = loss
        self.law = law or NormalizationLaw()
        self.passes = loss.passes

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return self.loss(f, m.scaled(*self.law(m.level, generator)), generator)
