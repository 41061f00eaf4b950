"""Consistent diffusion: the estimator is a martingale while the measurement goes on.

    A f(y_t) = E[A f(y_t') | y_t]   for t' > t,   y_t' drawn from y_t by going on measuring (`unveil.diffusion.go_on`)

ties levels below the measured noise, where there are no data, to the levels above them (Daras, Dagan, Dimakis and
Daskalakis 2023, https://arxiv.org/abs/2302.09057; below the noise: Daras, Dimakis and Daskalakis 2024,
https://arxiv.org/abs/2404.10177). The square of a mean needs two independent draws:

    (A f(y'_1) - A f(y_t))^T (A f(y'_2) - A f(y_t)) / m     has the mean  |E[A f(y_t') | y_t] - A f(y_t)|^2 / m

where |A f(y') - A f(y_t)|^2 of one draw would add the variance of A f(y'), the very spread of the posterior.

The identity is a martingale too. So f(y_t) is taken as given: what the data taught above is carried downwards, and the
levels below, which know nothing, do not drag it towards the identity.
"""

import torch
from torch import Tensor

from unveil.diffusion.go_on import go_on
from unveil.errors import UnveilError
from unveil.losses import Law, LogUniform, Loss
from unveil.measurement import Estimator, Measurement

__all__ = ["ConsistentDiffusion"]


class ConsistentDiffusion(Loss):
    """An unbiased estimate of |E[A f(y_t') | y_t] - A f(y_t)|^2 / m / s^2 at a level s of y_t below the measured one.

    Zero for the true estimator, and for others: it supplements a loss, and is none itself. No gradient flows through
    the draws and f(y_t).

    ratio: law of s / sigma, < 1. step: s' / s in (0, 1), s' the level of y_t'. stops: levels between y and y_t, at
    equal ratios. passes: two with gradients, and stops + 3 without, a third of a pass each.
    """

    def __init__(self, ratio: Law | None = None, step: float = 0.7, stops: int = 4) -> None:
        if not 0 < step < 1:
            raise UnveilError(f"step is s' / s and must be in (0, 1), not {step}")
        if stops < 1:
            raise UnveilError(f"stops is {stops}: the way from y to y_t takes at least 1")
        self.ratio = ratio or LogUniform(0.1, 0.95)
        self.step = step
        self.stops = stops
        self.passes = 2 + (stops + 3) / 3

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        ratio = self.ratio(m.level, generator)
        if not bool((ratio < 1).all()):
            raise UnveilError(
                "the law of s / sigma reached 1: consistent diffusion is for levels below the measured one"
            )
        share = torch.linspace(0, 1, self.stops + 1, device=m.y.device, dtype=m.y.dtype)[:, None]
        m_t = go_on(f, m, ratio ** (-2 * share), generator)
        on = torch.tensor([1.0, self.step**-2], dtype=m.y.dtype, device=m.y.device)[:, None].expand(-1, len(m))
        gaps = [m.predict(f(go_on(f, m_t, on, generator))) for _ in range(2)]
        with torch.no_grad():
            here = m.predict(f(m_t))
        return m.operator.mean((gaps[0] - here) * (gaps[1] - here)) / m_t.level**2
