"""div(A f)(y) / m = (1 / m) sum_i d(A f)_i / dy_i over the measured entries.

Monte Carlo (Ramani, Blu and Unser 2008, https://doi.org/10.1109/TIP.2008.2001404):

    w^T (A f(y + t w) - A f(y)) / t,    w_i = +-1 with equal odds

has mean div + O(t^2): the term of order t is odd in w. t must be small against the scale on which f bends, which is
the noise's own: t = step sigma. A fixed t would be right for images in [0, 1] only.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.risks.base import Estimator
from unveil.shapes import expand

__all__ = ["Divergence", "ExactDivergence", "MonteCarloDivergence"]


class Divergence(ABC):
    """An estimate of div(A f)(y) / m (B,).

    passes: network passes beyond the one that computed A f(y).
    """

    passes: float

    @abstractmethod
    def __call__(
        self, f: Estimator, y: Tensor, sigma: Tensor, problem: Problem, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(A f(y) (B, *measurement), div(A f)(y) / m (B,)) for y (B, *measurement) at level sigma (B,)."""


class MonteCarloDivergence(Divergence):
    """One Rademacher probe per sample, unbiased up to O(step^2).

    step: probe length as a multiple of sigma.
    part: share of the batch that is probed, in (0, 1]. Which samples is drawn anew at each call, and their terms
          count 1 / part times: every sample's estimate stays unbiased, at a higher variance and a lower cost.
    """

    def __init__(self, step: float = 0.01, part: float = 1.0) -> None:
        if not step > 0:
            raise UnveilError(f"step must be > 0, not {step}")
        if not 0 < part <= 1:
            raise UnveilError(f"part must be in (0, 1], not {part}")
        self.step = step
        self.part = part
        self.passes = part

    def __call__(
        self, f: Estimator, y: Tensor, sigma: Tensor, problem: Problem, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        y_hat = problem.predict(f(y, sigma))
        batch = y.shape[0]
        probed = math.ceil(self.part * batch)
        w = torch.randint(0, 2, y.shape, generator=generator, device=y.device).to(y) * 2 - 1
        if probed == batch:
            return y_hat, self.probe(f, y, y_hat, sigma, w, problem)
        chosen = torch.randperm(batch, generator=generator, device=y.device)[:probed]
        part = _select(problem, chosen, y)
        values = self.probe(f, y[chosen], y_hat[chosen], sigma[chosen], w[chosen], part)
        divergence = torch.zeros(batch, dtype=y.dtype, device=y.device)
        return y_hat, divergence.index_put((chosen,), values * (batch / probed))

    def probe(self, f: Estimator, y: Tensor, y_hat: Tensor, sigma: Tensor, w: Tensor, problem: Problem) -> Tensor:
        """w^T (A f(y + t w) - A f(y)) / (t m) (B,) with t = step sigma."""
        t = self.step * sigma
        w = problem.project(w)
        moved = problem.predict(f(y + expand(t, y) * w, sigma))
        return problem.inner(w, moved - y_hat) / t


class ExactDivergence(Divergence):
    """The trace of the Jacobian, entry by entry. For tests: m backward passes, and f must not couple samples."""

    passes = math.inf

    def __call__(
        self, f: Estimator, y: Tensor, sigma: Tensor, problem: Problem, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        y = y if y.requires_grad else y.detach().requires_grad_()
        with torch.enable_grad():
            y_hat = problem.predict(f(y, sigma))
            rows = y_hat.flatten(1).sum(0)
            diagonal = [
                torch.autograd.grad(row, y, create_graph=True, materialize_grads=True)[0].flatten(1)[:, i]
                for i, row in enumerate(rows)
            ]
        trace = torch.stack(diagonal, dim=1).reshape(y_hat.shape)
        return y_hat, problem.inner(trace, torch.ones_like(trace))


def _select(problem: Problem, chosen: Tensor, y: Tensor) -> Problem:
    """The problem of the part `chosen` of y (B, ...): masks that differ between samples are selected too."""
    mask = problem.measured
    if mask is None or mask.ndim < y.ndim or mask.shape[0] == 1:
        return problem
    return Problem(problem.operator, mask[chosen], problem.image_shape)
