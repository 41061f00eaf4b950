"""Consistent diffusion: the denoiser is a martingale along its own reverse diffusion.

    f_s(x_s) = E[f_s'(x_s') | x_s]   for s' < s,   x_s' drawn from x_s by the reverse diffusion

ties levels below the measured noise, where there are no data, to the levels above them (Daras, Dagan, Dimakis and
Daskalakis 2023, https://arxiv.org/abs/2302.09057; below the noise: Daras, Dimakis and Daskalakis 2024,
https://arxiv.org/abs/2404.10177). The square of a mean needs two independent draws:

    (f_s'(x'_1) - f_s(x_s))^T (f_s'(x'_2) - f_s(x_s)) / m     has the mean  |E[f_s'(x') | x_s] - f_s(x_s)|^2 / m

where |f_s'(x') - f_s(x_s)|^2 of one draw would add the variance of f_s'(x'), the very spread of the posterior.

The identity is a martingale too. So f_s(x_s) is taken as given: what the data taught above is carried downwards, and the
levels below, which know nothing, do not drag it towards the identity.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.risks.base import Estimator, Law, Risk
from unveil.risks.laws import LogUniform

__all__ = ["Martingale", "Reverse"]

Reverse = Callable[[Estimator, Tensor, Tensor, torch.Generator], Tensor]
"""(f, x (B, ...) at levels[0], levels (N + 1, B), generator) -> a draw of x at levels[N]: `unveil.diffusion`'s
`Solver.solve`. A risk knows no solver; its recipe passes one."""


class Martingale(Risk):
    """An unbiased estimate of |E[f(x_s', s') | x_s] - f(x_s, s)|^2 / m / s^2 at a level s below the measured one.

    Zero for the true denoiser, and for others: it supplements a risk, and is none itself. y at level sigma is brought
    down to x_s, and x_s twice to s' = step s, by the reverse diffusion of f; no gradient flows through the draws and f(x_s, s).

    reverse: draws x at a lower level. ratio: law of s / sigma, < 1. step: s' / s in (0, 1). stops: levels between y
    and x_s, at equal ratios. A = I only: UnveilError for a problem with an operator or a mask.
    passes: two with gradients, and stops + 3 without, a third of a pass each.
    """

    def __init__(self, reverse: Reverse, ratio: Law | None = None, step: float = 0.7, stops: int = 4) -> None:
        super().__init__()
        if not 0 < step < 1:
            raise UnveilError(f"step is s' / s and must be in (0, 1), not {step}")
        if stops < 1:
            raise UnveilError(f"stops is {stops}: the way from y to x_s takes at least 1")
        self.reverse = reverse
        self.ratio = ratio or LogUniform(0.1, 0.95)
        self.step = step
        self.stops = stops
        self.passes = 2 + (stops + 3) / 3

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        s = sigma * self.ratio(sigma, generator)
        if not bool((s < sigma).all()):
            raise UnveilError(
                "the law of s / sigma reached 1: the martingale risk is for levels below the measured one"
            )
        share = torch.linspace(0, 1, self.stops + 1, device=y.device, dtype=y.dtype)[:, None]
        x_s = self.reverse(f, y, sigma * (s / sigma) ** share, generator)
        down = torch.stack([s, self.step * s])
        gaps = [f(self.reverse(f, x_s, down, generator), down[1]) for _ in range(2)]
        with torch.no_grad():
            here = f(x_s, s)
        return self.problem.inner(gaps[0] - here, gaps[1] - here) / s**2
