"""Stein's unbiased estimate of the error (SURE).

    |u - h|^2 = |y - h|^2 + 2 (y - u)^T h - 2 (y - u)^T y + |y - u|^2,    h = A f(y),  u = A x

so that |y - h|^2 / m + 2 E[(y - u)^T h] / m - var(y) has the mean of |A f(y) - A x|^2 / m; the noise family knows the
second term without u (`Noise.stein`): for Gaussian noise it is sigma^2 times the divergence of h (Stein 1981,
https://doi.org/10.1214/aos/1176345632; for counts, Hudson 1978).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement
from unveil.noise.base import Noise

__all__ = ["Stein"]


class Stein(Loss):
    """Stein's estimate of |A (f(y) - x)|^2 / m, with a divergence by Monte Carlo: two passes.

    step: of a probe of first order, in levels of the noise; None: the family's own (see `Noise.stein`).
    """

    passes = 2.0

    def __init__(self, step: float | None = None) -> None:
        if step is not None and not step > 0:
            raise UnveilError(f"step must be > 0, not {step}: the length of the probe, in levels of the noise")
        self.step = step

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        def h(y: Tensor) -> Tensor:
            return m.predict(f(m.at(y)))

        h_y = m.predict(f(m))
        noise: Noise = m.noise
        mean = m.operator.mean
        correlation = noise.stein(h, m.y, h_y, mean, generator, self.step)
        return m.mean_square(m.y - h_y) + 2 * correlation - mean(noise.estimated_variance(m.y))
