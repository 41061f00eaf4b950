"""The contract of a risk: an unbiased estimate, from y alone, of the supervised risk |A (f(y) - x)|^2 / m.

Each risk answers for every sample of the batch by itself, never for their mean: weights, combinators and statistical
tests need the parts. m counts the measured entries (see `unveil.problem`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unveil.problem import DENOISING, Problem
from unveil.shapes import expand

__all__ = ["Estimator", "Law", "Risk"]

Estimator = Callable[[Tensor, Tensor], Tensor]
"""f(y, sigma) -> x_hat: y (B, *measurement), sigma (B,), x_hat (B, *image)."""

Law = Callable[[Tensor, torch.Generator], Tensor]
"""A law of a positive factor: (sigma (B,), generator) -> one draw per sample (B,)."""


class Risk(ABC):
    """risk(f, y, sigma, generator) -> (B,), in squared units of y.

    passes: the cost, in network passes of a whole batch (each with its backward pass in training); 1 is the
            supervised step's.
    """

    passes: float = 1.0

    def __init__(self, problem: Problem = DENOISING) -> None:
        self.problem = problem

    @abstractmethod
    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        """y (B, *measurement) at level sigma (B,): the risk of each sample (B,)."""

    def mean_square(self, r: Tensor) -> Tensor:
        """|r|^2 / m (B,) over the measured entries of r (B, *measurement)."""
        return self.problem.inner(r, r)

    def corrupt(self, y: Tensor, deviation: Tensor, w: Tensor) -> Tensor:
        """y + deviation w on the measured entries: y and w (B, *measurement), deviation (B,)."""
        return y + self.problem.project(expand(deviation, y) * w)
