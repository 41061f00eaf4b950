"""The risk of a network that does not know how the image is turned: equivariant splitting's other half.

If T_g^-1 x is as likely a signal as x, y = A x is also the measurement of z = T_g^-1 x by the operator A T_g. So

    f_g(y) = T_g f(y; A T_g)

is as good an estimate for every g, and a risk of f_g with g drawn anew teaches f all of them. Around `Hide` it is equivariant
splitting (Sechaud et al. 2026, https://arxiv.org/abs/2510.00929), whose networks average f_g over the group.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.risks.base import Estimator, Risk
from unveil.symmetry import Symmetry

__all__ = ["Symmetrize"]


class Symmetrize(Risk):
    """risk(f_g, y, sigma), g drawn per sample. f: f(y, sigma, problem), for operators that it was not told of before."""

    def __init__(self, risk: Risk, symmetry: Symmetry) -> None:
        super().__init__(risk.problem)
        if not symmetry.linear:
            raise UnveilError("an affine symmetry (amplitude) cannot turn an operator: leave it out of risk.symmetry")
        self.risk = risk
        self.symmetry = symmetry
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        shape = self.problem.image_shape or tuple(y.shape[1:])
        g = self.symmetry.draw(y.new_empty(len(y), *shape), generator)

        def f_g(y: Tensor, sigma: Tensor, part: Problem = self.problem) -> Tensor:
            turned = Problem(Turned(part, self.symmetry, g), part.measured, part.image_shape, part.measurement_shape)
            return self.symmetry.apply(f(y, sigma, turned), g)  # type: ignore[call-arg]

        return self.risk(f_g, y, sigma, generator)


class Turned:
    """A T_g and its transpose, of a linear symmetry, both differentiable."""

    def __init__(self, problem: Problem, symmetry: Symmetry, g: Tensor) -> None:
        self.problem = problem
        self.symmetry = symmetry
        self.g = g

    def A(self, x: Tensor) -> Tensor:
        return self.problem.predict(self.symmetry.apply(x, self.g))

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.symmetry.adjoint(self.problem.adjoint(y), self.g)
