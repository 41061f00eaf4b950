"""f(y, sigma), an estimate of E[x | y] for y = A x + sigma w, around any network g.

For a white signal of mean m and deviation v the best estimate and the covariance of its error are

    W y = m + (A^T A + lambda I)^-1 A^T (y - A m),    C = sigma^2 (A^T A + lambda I)^-1,    lambda = sigma^2 / v^2

The network adds what a white signal does not know, as large as that error allows:

    f(y, sigma) = W y + E g,     E = v (q I + (1 - q) N) ~ C^(1/2),     N = lambda (A^T A + lambda I)^-1,   q = sigma / (sigma^2 + v^2)^(1/2)

with A and sigma in units in which A's largest singular value is 1. Where A sees nothing, N is the identity and g has full strength v at
every level; where it sees best, E is about sigma v / (sigma^2 + v^2)^(1/2), and f tends to the data as sigma -> 0, whatever g is. For A = I and with q alone this is the
preconditioning of Karras et al. 2022 (https://arxiv.org/abs/2206.00364). With a `Stationary` prior W y is the best linear estimate under
the spectrum that it learned: it fills in what neighbours tell of missing pixels and colours, from where the network goes on; E stays
that of a white signal, which errs on the side of too much freedom. With more iterations f goes on from x_k = f_k:

    x_k+1 = x_k + E g_k+1 applied after a step towards the data:  x_k <- x_k + (A^T A + lambda_k I)^-1 A^T (y - A x_k)

the proximal steps of unrolled networks (Aggarwal, Mani and Jacob 2019, https://doi.org/10.1109/TMI.2018.2865356), with weights
lambda_k that are learned and one g for all.
"""

import math

import torch
from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.estimators.conjugate_gradients import conjugate_gradients
from unveil.estimators.precondition import LOWEST_RATIO
from unveil.estimators.stationary import Stationary
from unveil.problem import Inverting, Problem, Several
from unveil.random import make_generator
from unveil.shapes import expand, per_sample

__all__ = ["Reconstruction", "least_squares", "regularised_inverse"]


class Reconstruction(nn.Module):
    """f(y, sigma) -> x_hat (B, C, H, W), from y (B, *measurement), sigma a number or (B,) in the units of y.

    backbone:   g(u, c) -> (B, C, H, W) from u (B, 2 C, H, W), the present estimate and A^T y, and c (B,) the log noise-to-signal
                ratio; e.g. `UNet(2 C, ..., out_channels=C)`.
    problem:    of the measurements, or of several kinds of them.
    mean, deviation: m and v, of the signals.
    iterations: how often g is applied; between two of them a proximal step towards the data.
    prior:      in whose W y f begins; None: white signals.
    Raises UnveilError when v is not > 0 or iterations < 1.
    """

    scale: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        problem: Problem | Several,
        mean: float = 0.5,
        deviation: float = 0.25,
        iterations: int = 1,
        prior: Stationary | None = None,
    ) -> None:
        super().__init__()
        if not deviation > 0:
            raise UnveilError(f"deviation must be > 0, not {deviation}: give the signals' standard deviation")
        if iterations < 1:
            raise UnveilError(f"iterations is {iterations}: the network is applied at least once")
        self.backbone = backbone
        self.problem = problem
        self.mean = mean
        self.deviation = deviation
        self.log_weights = nn.Parameter(torch.zeros(iterations - 1))
        self.prior = prior
        self.register_buffer("scale", torch.tensor(largest_singular_value(problem)))

    def forward(self, y: Tensor, sigma: float | Tensor, problem: Problem | None = None) -> Tensor:
        """problem: of this batch, where it is not the one of the constructor: another mask, each sample's own operator."""
        problem = problem or _single(self.problem)
        s, v = per_sample(sigma, y), self.deviation
        ratio = (s / v / self.scale).clamp_min(LOWEST_RATIO)
        lambda_ = (self.scale * ratio) ** 2
        q = ratio / (1 + ratio**2).sqrt()
        c = ratio.log() / 4
        shape = (len(y), *(problem.image_shape or y.shape[1:]))
        m = torch.full(shape, self.mean, dtype=y.dtype, device=y.device)
        residual = y - problem.predict(m)
        back = problem.adjoint(residual)
        seen = back / expand(self.scale**2 * v * (1 + ratio**2).sqrt(), back)
        if self.prior is None:
            x = m + least_squares(problem, residual, lambda_)
            x_in = (x - m) * expand((1 + ratio**2).sqrt() / v, x)
        else:
            x = self.prior.estimate(problem, y, s)
            x_in = (x - m) / v
        x = x + self._error(problem, self.backbone(torch.cat([x_in, seen], 1), c).to(y.dtype), lambda_, q)
        for log_weight in self.log_weights:
            x = x + least_squares(problem, y - problem.predict(x), lambda_ * (3 + log_weight).exp())
            u = torch.cat([(x - m) / v, seen], 1)
            x = x + self._error(problem, self.backbone(u, c).to(y.dtype), lambda_, q)
        return x

    def _error(self, problem: Problem, g: Tensor, lambda_: Tensor, q: Tensor) -> Tensor:
        """E g (B, C, H, W)."""
        if isinstance(problem.operator, Inverting):
            unseen = expand(lambda_, g) * regularised_inverse(problem, g, lambda_)
        else:  # N = I - (A^T A + lambda I)^-1 A^T A: so written, few steps leave what A does not see untouched
            unseen = g - least_squares(problem, problem.predict(g), lambda_)
        return self.deviation * (expand(q, g) * g + expand(1 - q, g) * unseen)


def _single(problem: Problem | Several) -> Problem:
    if isinstance(problem, Several):
        raise UnveilError(
            "each measurement has an operator of its own: pass f the problem of the batch, problem.at(which)"
        )
    return problem


def largest_singular_value(problem: Problem | Several, iterations: int = 20) -> float:
    """Of A, of the first measurement's where there are several, by power iteration on A^T A."""
    part = problem.at(torch.zeros(1, dtype=torch.long))
    if part.operator is None or part.image_shape is None:
        return 1.0
    x = torch.randn(1, *part.image_shape, generator=make_generator("cpu", 0))
    square = 1.0
    for _ in range(iterations):
        x = part.adjoint(part.predict(x / x.norm()))
        square = float(x.norm())
    return math.sqrt(square)


def least_squares(problem: Problem, residual: Tensor, lambda_: Tensor) -> Tensor:
    """(A^T A + lambda I)^-1 A^T r (B, *image) of r (B, *measurement), lambda (B,) > 0, differentiable in both."""
    if not isinstance(problem.operator, Inverting):
        return regularised_inverse(problem, problem.adjoint(residual), lambda_)
    # A^T r loses in single precision what A sees weakly: its error of 1e-7 of the whole is then divided by lambda
    x = regularised_inverse(problem, problem.adjoint(residual.double()), lambda_)
    return x.to(residual.dtype)


def regularised_inverse(problem: Problem, b: Tensor, lambda_: Tensor, iterations: int = 6) -> Tensor:
    """(A^T A + lambda I)^-1 b (B, *image), lambda (B,) > 0, differentiable in b and lambda.

    By the operator itself where it can (`Inverting`), else by conjugate gradients. These are exact after two iterations where
    A^T A is a projector (masks of pixels or of Fourier coefficients), since it then has two eigenvalues; and after one, without
    an operator.
    """
    if isinstance(problem.operator, Inverting):
        return problem.operator_on(b).regularised_inverse(b, lambda_, problem.measured)

    def apply(x: Tensor) -> Tensor:
        return problem.adjoint(problem.predict(x)) + expand(lambda_, x) * x

    return conjugate_gradients(apply, b, iterations)
