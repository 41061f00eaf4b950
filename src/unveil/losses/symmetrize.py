"""The loss of a network that does not know how the image is turned: equivariant splitting's other half.

If T_g^-1 x is as likely a signal as x, y = A x is also the measurement of z = T_g^-1 x by the operator A T_g. So

    f_g(y) = T_g f(y; A T_g)

is as good an estimate for every g, and a loss of f_g with g drawn anew teaches f all of them. Around `Hide` it is
equivariant splitting (Sechaud et al. 2026, https://arxiv.org/abs/2510.00929), whose networks average f_g over the
group.
"""

from dataclasses import replace

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement
from unveil.operators.turned import Turned
from unveil.symmetry import Symmetry

__all__ = ["Symmetrize"]


class Symmetrize(Loss):
    """loss(f_g, m), g drawn per sample; the plain loss where A leaves nothing out.

    Raises UnveilError for an affine symmetry.
    """

    def __init__(self, loss: Loss, symmetry: Symmetry) -> None:
        if not symmetry.linear:
            raise UnveilError("an affine symmetry (amplitude) cannot turn an operator: leave it out of loss.symmetry")
        self.loss = loss
        self.symmetry = symmetry
        self.passes = loss.passes

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        if not m.operator.unseen:
            return self.loss(f, m, generator)
        g = self.symmetry.draw(m.operator.image(m.y), generator)

        def f_g(part: Measurement) -> Tensor:
            return self.symmetry.apply(f(replace(part, operator=Turned(part.operator, self.symmetry, g))), g)

        return self.loss(f_g, m, generator)
