"""Learning from signals: measure them again, at any exposure, and reconstruct them.

With x ~ p(x), as rounds of expectation maximisation draw it, y ~ p(y | A T_g x) at exposure t is a measurement whose
signal T_g x is known, at any level: the M step (Rozet, Andry, Lanusse and Louppe 2024,
https://arxiv.org/abs/2405.13712). With clean images it is the supervised step of the benchmarks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.losses.base import Law
from unveil.losses.combine import precision
from unveil.measurement import Estimator, Measurement
from unveil.noise.base import Noise
from unveil.operators.base import Operator
from unveil.symmetry import Symmetry

__all__ = ["Simulated"]


class Simulated:
    """weight(m) |f(m) - T_g x|^2 / n (B,) of simulated measurements m of T_g x. One pass.

    ratio: law of s / sigma = t^(-1/2), which may be below 1. symmetry: T_g; None leaves x as it is. weight: m -> (B,).
    """

    passes = 1.0

    def __init__(
        self, ratio: Law, symmetry: Symmetry | None = None, weight: Callable[[Measurement], Tensor] = precision
    ) -> None:
        self.ratio = ratio
        self.symmetry = symmetry
        self.weight = weight

    def __call__(self, f: Estimator, x: Tensor, operator: Operator, noise: Noise, generator: torch.Generator) -> Tensor:
        """Return the loss (B,) on fresh measurements of the signals x (B, *image).

        operator: of one measurement for all, or B. noise: at exposure 1.
        """
        x = x if self.symmetry is None else self.symmetry.transform(x, generator)
        t = self.ratio(x.flatten(1)[:, 0], generator) ** -2
        exposed = noise.exposed(t)
        m = Measurement(exposed.sample(operator.A(x), generator), operator, exposed)
        return self.weight(m) * (f(m) - x).square().flatten(1).mean(1)
