"""The contract of a solver: one discretisation of the reverse diffusion.

The variance-exploding diffusion is x_s = x + s w. Its exact reversal in time, with s running down, is

    dx = -2 s'(t) (E[x | x_s] - x_s) / s dt + sqrt(2 s'(t) s) dw
    dx =  2 (D(x, s) - x) dlambda + sqrt(2) s dw,        lambda = -log s,  D(x, s) = E[x | x_s = x]

(Anderson 1982, https://doi.org/10.1016/0304-4149(82)90051-5; Song et al. 2021,
https://arxiv.org/abs/2011.13456). Started at a measurement y = x + sigma_n n at s = sigma_n, it ends at s =
0 in a draw of p(x | y).

Only this member of the family of reverse diffusions does. The probability-flow ODE, and the churned
samplers between and beyond, share its law of x_s for each s alone, but not its joint law of (x_s, x_s'),
hence not the law of x given y: the ODE maps y to one point. Every solver here discretises the equation
above, and no other.

The last step, to s = 0, returns D(x, s_{N-1}): the mean of x given x_s. The exact step would also add the
covariance of x given x_s, at most about s_{N-1}^2 per dimension; to draw it one needs the very law sampled
here, at a lower level.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["Denoise", "Progress", "Solver"]

Denoise = Callable[[Tensor, Tensor], Tensor]  # x (B, ...), s (B,) -> E[x0 | x_s = x] (B, ...)
Progress = Callable[[int, int], object]  # (steps done, steps in all)


class Solver(ABC):
    """A discretisation of the reverse diffusion. It knows no operator; the denoiser it calls knows no solver.

    order: weak order in the step of lambda, down to the last level above 0; the tests measure it.
    evaluations_per_step: calls of the denoiser in a step that ends above 0; the step to 0 takes one.
    """

    order: ClassVar[int]
    evaluations_per_step: ClassVar[int]

    @abstractmethod
    def steps(self, denoise: Denoise, x: Tensor, levels: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield x at levels[1], levels[2], ...; x (B, ...) is at levels[0], levels (N + 1, B) are above 0."""

    @torch.no_grad()
    def solve(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        generator: torch.Generator,
        progress: Progress | None = None,
    ) -> Tensor:
        """x at level sigmas[-1], (B, ...), drawn given x at level sigmas[0].

        denoise: D(x, s) = E[x0 | x_s = x], called with x (B, ...) and s (B,), x's dtype and device.
        x: (B, ...), floating point: a measurement or noise at level sigmas[0], in the data's units.
        sigmas: s_0 > s_1 > ... > s_N >= 0, (N + 1,) or one column per sample (N + 1, B), same units as x.
            If s_N = 0 the last step returns the denoiser's output (see the module).
        generator: source of every draw, on x's device.
        progress: called as progress(done, N) after each step.
        Raises UnveilError if x is not floating point, or sigmas has another shape or does not decrease.
        """
        levels = _levels(sigmas, x)
        last = len(levels) - 1
        to_zero = not bool(levels[-1].any())
        above = levels[:-1] if to_zero else levels
        states = self.steps(denoise, x, above, generator)
        for done, state in enumerate(states, start=1):
            x = state
            if progress is not None:
                progress(done, last)
        if to_zero:
            x = denoise(x, above[-1])
            if progress is not None:
                progress(last, last)
        return x


def _levels(sigmas: Tensor, x: Tensor) -> Tensor:
    """`sigmas` as (N + 1, B) in the dtype and on the device of x (B, ...), checked."""
    if not x.is_floating_point():
        raise UnveilError(f"x has dtype {x.dtype}: it must be floating point; call x.float()")
    shape = tuple(sigmas.shape)
    if len(shape) not in (1, 2) or shape[0] < 2 or (len(shape) == 2 and shape[1] != x.shape[0]):
        raise UnveilError(
            f"sigmas has shape {shape} for a batch of {x.shape[0]}: pass at least two levels, "
            f"(N + 1,) or (N + 1, {x.shape[0]})"
        )
    levels = sigmas.to(x.dtype).to(x.device).reshape(shape[0], -1).expand(-1, x.shape[0])
    decreasing = bool((levels[1:] < levels[:-1]).all())
    ended = bool((levels[-1] > 0).all() or (levels[-1] == 0).all())
    if not (decreasing and ended and bool(levels[0].isfinite().all())):
        raise UnveilError(
            f"sigmas runs {[float(f'{s:.3g}') for s in levels[:, 0]][:8]}... in {x.dtype}: it must be finite "
            "and decrease strictly to a last level that is 0 for all samples or above 0 for all; "
            "use unveil.diffusion.geometric or karras"
        )
    return levels
