"""Ambient Tweedie: learn the denoiser at a level s from measurements at a lower level s_b, in one pass.

With y = x + s_b n and y_s = y + sqrt(s^2 - s_b^2) w, Tweedie's formula for y given y_s says

    E[y | y_s] = alpha E[x | y_s] + (1 - alpha) y_s,      alpha = 1 - s_b^2 / s^2

so alpha f(y_s) + (1 - alpha) y_s is regressed onto y (Daras, Dimakis and Daskalakis 2024,
https://arxiv.org/abs/2404.10177). Given x and y_s, y has mean alpha x + (1 - alpha) y_s and variance s_b^2 alpha, hence

    (|alpha f(y_s) + (1 - alpha) y_s - y|^2 / m - s_b^2 alpha) / alpha^2

has the mean of |f(y_s) - x|^2 / m. It is R2R with the ratio a = sqrt(s^2 / s_b^2 - 1), drawn anew for every sample. The
variance of its target is s_b^2 / alpha: it grows without bound as s -> s_b, where SURE must take over.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem
from unveil.random import normal
from unveil.risks.base import Estimator, Law, Risk
from unveil.risks.laws import LogUniform
from unveil.shapes import expand

__all__ = ["AmbientTweedie", "inverse_gradient_variance", "inverse_target_variance"]


def inverse_target_variance(sigma: Tensor, s: Tensor) -> Tensor:
    """alpha^2 / s^2 (B,) for data at level sigma and training level s > sigma: the weight that keeps gradients level."""
    return (1 - sigma**2 / s**2) ** 2 / s**2


def inverse_gradient_variance(sigma: Tensor, s: Tensor) -> Tensor:
    """alpha / s^2 (B,): the weight that is about the inverse of the gradient's variance.

    Without noise in the target the gradient varies by V, from the images and the noise of the input; the target's noise,
    s^2 (1 - alpha) / alpha, adds about V (1 - alpha) / alpha (benchmarks/gradient_variance.py measures both). Their sum is
    V / alpha. `inverse_target_variance` is that of the second part alone, and leaves levels near sigma unheard.
    """
    return (1 - sigma**2 / s**2) / s**2


class AmbientTweedie(Risk):
    """weight(sigma, s) times an unbiased estimate of |A (f(y_s, s) - x)|^2 / m at a level s drawn per sample. One pass.

    ratio:  law of s / sigma, > 1; UnveilError for a LogUniform that is not. Data without noise (sigma = 0) have no ratio: use `Oracle` for those.
    weight: (sigma (B,), s (B,)) -> (B,); None is 1, the plain risk.
    """

    def __init__(
        self,
        ratio: Law | None = None,
        weight: Callable[[Tensor, Tensor], Tensor] | None = None,
        problem: Problem = DENOISING,
    ) -> None:
        super().__init__(problem)
        self.ratio = ratio or LogUniform(1.2, 3.0)
        if isinstance(self.ratio, LogUniform) and not self.ratio.low > 1:
            raise UnveilError(
                f"the ratio s / sigma must be > 1, not from {self.ratio.low}: at 1 the target's variance is infinite"
            )
        self.weight = weight

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        s = sigma * self.ratio(sigma, generator)
        alpha = 1 - sigma**2 / s**2
        y_s = self.corrupt(y, (s**2 - sigma**2).sqrt(), normal(y, generator))
        alpha_ = expand(alpha, y)
        predicted = alpha_ * self.problem.predict(f(y_s, s)) + (1 - alpha_) * self.problem.project(y_s)
        risk = (self.mean_square(predicted - self.problem.project(y)) - sigma**2 * alpha) / alpha**2
        return risk if self.weight is None else self.weight(sigma, s) * risk
