"""Noise learned along with the network: UNSURE (Tachella, Davies and Jacques 2025, https://arxiv.org/abs/2409.01985).

Of the estimators whose output has, as the measurements tell it, no correlation with the noise, take the one nearest to
the measurements. With a multiplier for each unknown of the noise's covariance C, h = A f and K = E[(y - u)^T h(y)] by
Stein's identity, linear in C:

    max over C   min over f   E |y - h(y)|^2 + 2 K(C, h),      dK / dC = 0 at the saddle

Gaussian noise, C = eta I. The inner minimum is h = y + eta s, s = grad log p_y, of which div h = m - eta |s|^2 in the
mean: so what is left is m (2 eta - eta^2 J), J = E|s|^2 / m, and

    eta = 1 / J = sigma^2 / (1 - e / sigma^2) >= sigma^2,      e = E|E[u | y] - u|^2 / m

by Tweedie's e = sigma^2 - sigma^4 J: too large by as much as the best estimate leaves of the noise. It is a bound, and
nothing is known of what is missing. A kernel, or gain and read noise, have the same, each beside the others.

Here K stands for itself, the recipe's loss for the rest: its minimum over f is the same h for the noise that the
network is told, at this level and at others, and the multipliers rise along dK by a probe without gradients. The
constraint is thus that of the measured level alone, whatever levels the recipe shows. (ours)
"""

from dataclasses import replace

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Loss
from unveil.losses.multipliers import Multipliers
from unveil.measurement import Estimator, Measurement
from unveil.noise import NOISES, Noise

__all__ = ["Unsure"]

SHARE = 0.2
"""Of the batch, that is asked how its output correlates with the noise: two passes without gradients."""
RATE, MOMENTUM = 5e-4, 0.9
"""A deviation that is off by a small part is mended in some 50 steps: slower than the network learns what it is for."""
UNKNOWN = {name: shape for family in NOISES.values() for name, shape in family.unknown.items()}


class Unsure(Loss):
    """The loss of measurements whose noise is learned: the noise that they come with is where learning starts.

    loss: what teaches f, told the noise learned so far. rate, momentum: of the multipliers. f is given the measurements
    at the level learned so far. Raises UnveilError for noise of which nothing can be learned.
    """

    def __init__(self, loss: Loss, rate: float = RATE, momentum: float = MOMENTUM) -> None:
        self.loss = loss
        self.multipliers: Multipliers = Multipliers(UNKNOWN, rate, momentum)
        self.passes = loss.passes + SHARE * 2 / 3

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        told = replace(m, noise=self.learned(m.noise))
        some = max(1, round(SHARE * len(m)))
        self._constrain(f, told[:some], m[:some].noise, generator)
        return self.loss(f, told, generator)

    def learned(self, noise: Noise) -> Noise:
        """Return what has been learned of noise that was `noise` at first."""
        if not noise.unknown:
            raise UnveilError(f"of {type(noise).__name__} noise nothing is learned: use another recipe than unsure")
        return noise.learned(self.multipliers.values)

    def _constrain(self, f: Estimator, m: Measurement, start: Noise, generator: torch.Generator) -> None:
        """Give each multiplier its gradient, of K over the mean variance, at the noise of m."""
        mean = m.operator.mean
        with torch.no_grad():
            e, z = m.noise.direction(m.y, mean, generator)
            change = m.predict(f(m.at(m.y + e))) - m.predict(f(m))
            scale = m.level**-2
        logs = dict(self.multipliers.logs.items())
        with torch.enable_grad():
            k = scale * mean(start.learned(logs).spread(m.y, z) * change)
        chosen = {name: logs[name] for name in start.unknown}
        gradients = torch.autograd.grad(k.mean(), list(chosen.values()))
        for log, gradient in zip(chosen.values(), gradients):
            log.grad = gradient
