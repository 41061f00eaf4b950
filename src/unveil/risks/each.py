"""The risk of measurements through operators: built anew for the operators of each batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from unveil.problem import Problem, Several
from unveil.risks.base import Estimator, Risk

__all__ = ["Each", "told"]


class Each:
    """recipe(problem, virtual), where f is told the problem of the batch: (f, y, sigma, which, generator) -> (B,).

    problem: of all measurements; `which` (B,) are the numbers of those in the batch. f: f(y, sigma, problem) -> x_hat.
    virtual: the problem of the same batch with each operator handed to the next sample, for virtual measurements; with one
    operator for all it is the problem itself.
    dilation: factors k, drawn per batch with equal odds. Where A measures Fourier coefficients, the low frequencies of y are
    measurements of an image with pixels k times as large, with noise of level sigma / k: of images that look alike at every
    scale, real data below the measured level (`Problem.coarser`; for A = I, `Dilate`).
    """

    def __init__(
        self,
        problem: Problem | Several,
        recipe: Callable[[Problem, Problem], Risk],
        dilation: Sequence[int] = (1,),
    ) -> None:
        self.problem = problem
        self.recipe = recipe
        self.dilation = tuple(dilation)

    def __call__(self, f: nn.Module, y: Tensor, sigma: Tensor, which: Tensor, generator: Generator) -> Tensor:
        problem = self.problem.at(which)
        virtual = self.problem.at(which.roll(1))
        k = self._factor(generator)
        if k > 1:
            coarser, virtual = problem.coarser(k), virtual.coarser(k).problem
            problem, y, sigma = coarser.problem, coarser.take(y), sigma / k
        return self.recipe(problem, virtual)(told(f, problem), y, sigma, generator)

    def _factor(self, generator: Generator) -> int:
        if len(self.dilation) == 1:
            return self.dilation[0]
        drawn = torch.randint(len(self.dilation), (1,), generator=generator, device=generator.device)
        return self.dilation[int(drawn)]


def told(f: nn.Module, problem: Problem) -> Estimator:
    """f(y, sigma), which tells f the problem of its measurements; a risk may pass another as a third argument."""
    if problem.operator is None:
        return f

    def estimate(y: Tensor, sigma: Tensor, part: Problem = problem) -> Tensor:
        return f(y, sigma, part)

    return estimate
