"""Ancestral sampling: the reverse diffusion with D constant over a step. The smallest solver, the template.

Between s and s' < s, with r = s' / s and D = D(x, s) constant, dx = 2 (D - x) dlambda + sqrt(2) s dw is
linear and its solution is known:

    x' = r^2 x + (1 - r^2) D + s' sqrt(1 - r^2) w,        w ~ N(0, I)

The linear part is integrated exactly, not by Euler-Maruyama's x' = x + 2 h (D - x) + sqrt(2 h) s w with h =
log(s / s'), which amplifies x - D as soon as h > 1 and has no meaning at s' = 0, where h is infinite. The
exact form combines x and D convexly for any h, and gives D at s' = 0.

It is also the exact law of x_s' given x_s and x = D (Ho et al. 2020, https://arxiv.org/abs/2006.11239). The
true x is not D but a draw around it, so that

    x_s' | x_s has mean  r^2 x + (1 - r^2) D,   covariance  s'^2 (1 - r^2) I + (1 - r^2)^2 Cov[x | x_s],
    Cov[x | x_s] = s^2 dD/dx                    (Tweedie's formula, second order)

The mean is exact; the second covariance is lost, h^2 a step: weak order 1, and samples less varied than
they should be. For a signal of deviation 0.2 and 25 geometric steps from 0.1 to 0.001 they have 29% too
little variance, 100 steps 8%. `Heun` and `DPM2M` restore it.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from unveil.diffusion.solver import Denoise, Solver
from unveil.random import normal
from unveil.shapes import expand

__all__ = ["Ancestral", "transition"]


class Ancestral(Solver):
    """Exponential Euler-Maruyama of the reverse diffusion: weak order 1, one evaluation a step."""

    order = 1
    evaluations_per_step = 1

    def steps(self, denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """See `Solver.steps`."""
        for s, s_next in pairwise(levels):
            x = transition(x, denoise(x, s), s, s_next, normal(x, generator))
            yield x


def transition(x: Tensor, clean: Tensor, s: Tensor, s_next: Tensor, w: Tensor) -> Tensor:
    """r^2 x + (1 - r^2) D + s' sqrt(1 - r^2) w, r = s'/s: a draw of x_s' given x_s = x if the signal were D.

    x: (B, ...) at level s. clean: D, (B, ...). s, s_next: (B,), s > s' >= 0. w: (B, ...), standard normal.
    """
    r2 = (s_next / s) ** 2
    return clean + expand(r2, x) * (x - clean) + expand(s_next * (1 - r2).sqrt(), x) * w
