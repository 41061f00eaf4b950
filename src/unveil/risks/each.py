"""The risk of measurements through operators: built anew for the operators of each batch."""

from collections.abc import Callable

from torch import Generator, Tensor, nn

from unveil.problem import Problem, Several
from unveil.risks.base import Estimator, Risk

__all__ = ["Each", "told"]


class Each:
    """recipe(problem, virtual), where f is told the problem of the batch: (f, y, sigma, which, generator) -> (B,).

    problem: of all measurements; `which` (B,) are the numbers of those in the batch. f: f(y, sigma, problem) -> x_hat.
    virtual: the problem of the same batch with each operator handed to the next sample, for virtual measurements; with one
    operator for all it is the problem itself.
    """

    def __init__(self, problem: Problem | Several, recipe: Callable[[Problem, Problem], Risk]) -> None:
        self.problem = problem
        self.recipe = recipe

    def __call__(self, f: nn.Module, y: Tensor, sigma: Tensor, which: Tensor, generator: Generator) -> Tensor:
        problem = self.problem.at(which)
        virtual = self.problem.at(which.roll(1))
        return self.recipe(problem, virtual)(told(f, problem), y, sigma, generator)


def told(f: nn.Module, problem: Problem) -> Estimator:
    """f(y, sigma), which tells f the problem of its measurements; a risk may pass another as a third argument."""
    if problem.operator is None:
        return f

    def estimate(y: Tensor, sigma: Tensor, part: Problem = problem) -> Tensor:
        return f(y, sigma, part)

    return estimate
