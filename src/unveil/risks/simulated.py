"""Learning from draws of the signals: measure them again, with any noise, and reconstruct them.

With x ~ p(x), as the iterated recipe draws it, y = A T_g x + s w is a measurement whose signal T_g x is known, at any level s:
the M step of expectation maximisation (Rozet, Andry, Lanusse and Louppe 2024, https://arxiv.org/abs/2405.13712).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.problem import Problem
from unveil.random import normal
from unveil.risks.base import Estimator, Law, Risk
from unveil.symmetry import Symmetry

__all__ = ["Simulated"]


class Simulated(Risk):
    """weight(s) |f(A T_g x + s w, s) - T_g x|^2 / n (B,), s drawn per sample from `level`. One pass.

    The batch is x (B, *image), not y. symmetry: T_g; None leaves x as it is. weight: (B,) -> (B,).
    """

    def __init__(
        self, problem: Problem, level: Law, weight: Callable[[Tensor], Tensor], symmetry: Symmetry | None = None
    ) -> None:
        super().__init__(problem)
        self.level = level
        self.weight = weight
        self.symmetry = symmetry

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        x = y if self.symmetry is None else self.symmetry.transform(y, generator)
        s = self.level(sigma, generator)
        u = self.problem.predict(x)
        x_hat = f(self.corrupt(u, s, normal(u, generator)), s)
        return self.weight(s) * (x_hat - x).square().flatten(1).mean(1)
