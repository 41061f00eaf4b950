"""SDE-DPM-Solver++(2M): an ancestral step towards an extrapolated D. Weak order 2, one evaluation a step.

    x' = r^2 x + (1 - r^2) D~ + s' sqrt(1 - r^2) w,      r = s' / s
    D~ = D + (h / 2 h_) (D - D_),                        h = log(s / s'),  D = D(x, s)

with D_ and h_ the denoiser's output and the step of lambda of the step before; D~ extrapolates D to the
middle of the step (Lu et al. 2022, https://arxiv.org/abs/2211.01095, the multistep SDE solver with data
prediction, for alpha = 1).

It is a two-step Adams-Bashforth method. The variance that an ancestral step lacks (see `ancestral`) comes
one step late: D - D_ carries the noise drawn in the step before. The first step, at a known x, has no noise
behind it to correct, so D~ = D there costs no order and needs no better start; only the last step's own
noise is never corrected, once, at the lowest level. Measured weak order: 2.

For a signal of deviation 0.2 and 25 geometric steps from 0.1 to 0.001 the variance is 2.0% too low, for
deviation 0.03 1.1% too high; 50 steps, at the cost of 25 of Heun's, 0.4% and 0.2%.

Gain. D is a martingale along the exact reverse diffusion, and the sum of its increments D - D_ is all of the
posterior's spread (I-MMSE; Guo, Shamai and Verdu 2005, https://doi.org/10.1109/TIT.2005.844072):

    E |x - E[x|y]|^2 = E sum |D - D_|^2,    |D - D_|^2 -> 2 s^2 |dD/dx|_F^2 h

The right side is quadratic in the denoiser's derivative, so a trained network, which averages over the detail
that it cannot represent, falls short of it by Jensen's inequality even where its own mean square error is right.
With gain c > 0 each step also moves x by c times the newest increment,

    x' <- x' + c (D - D_),

which leaves the mean alone and restores the missing spread along the network's own directions. c = 0 is the
exact solver; `unveil.diffusion.fit_gain` finds the c of a trained network from measurements. (ours)
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from unveil.diffusion.ancestral import transition
from unveil.diffusion.solver import Denoise, Solver
from unveil.errors import UnveilError
from unveil.random import normal
from unveil.shapes import expand

__all__ = ["DPM2M"]


class DPM2M(Solver):
    """SDE-DPM-Solver++(2M): weak order 2, one evaluation a step, remembers the last one.

    gain: c >= 0 (see the module); order 2 is that of c = 0. Raises UnveilError for c < 0.
    """

    order = 2
    evaluations_per_step = 1

    def __init__(self, gain: float = 0.0) -> None:
        if not gain >= 0:
            raise UnveilError(f"gain is {gain}: it must be >= 0; 0 is the exact solver")
        self.gain = gain

    def steps(self, denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """See `Solver.steps`."""
        previous: tuple[Tensor, Tensor] | None = None
        for s, s_next in pairwise(levels):
            h = (s / s_next).log()
            clean = denoise(x, s)
            if previous is None:
                x = transition(x, clean, s, s_next, normal(x, generator))
            else:
                clean_before, h_before = previous
                increment = clean - clean_before
                ahead = clean + expand(h / (2 * h_before), x) * increment
                x = transition(x, ahead, s, s_next, normal(x, generator)) + self.gain * increment
            previous = clean, h
            yield x
