"""Recorruption: one view of y is shown to f, and the rest of the exposure judges it.

    y = t y_t + (1 - t) y_rest,    E |y_rest - A f(y_t)|^2 = E |A (x - f(y_t))|^2 + E var(y_rest)

because y_rest is independent of y_t given x. No divergence, one pass; the price is the noise of y_rest, which grows
without bound as t -> 1 (there `Stein` takes over), and an estimator trained at exposure t, not at 1.

For Gaussian noise this is recorrupted-to-recorrupted (R2R; Pang et al. 2021,
https://doi.org/10.1109/CVPR46437.2021.00208) with t = 1 / (1 + a^2), and ambient Tweedie (Daras, Dimakis and Daskalakis
2024, https://arxiv.org/abs/2404.10177): with the level s = sigma / t^(1/2) of y_t and alpha = 1 - t, the latter
regresses alpha f(y_t) + (1 - alpha) y_t onto y, and

    alpha f(y_t) + (1 - alpha) y_t - y = alpha (f(y_t) - y_rest),

sample by sample. For other families it is generalized R2R (Monroy, Bacca and Tachella 2025,
https://arxiv.org/abs/2412.04648).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Law, Loss
from unveil.losses.laws import LogUniform
from unveil.measurement import Estimator, Measurement

__all__ = ["Recorruption", "inverse_gradient_variance", "inverse_target_variance"]

Weight = Callable[[Measurement, Tensor], Tensor]
"""The view y_t, and its share t (B,) of the exposure -> a weight (B,)."""


def inverse_target_variance(view: Measurement, t: Tensor) -> Tensor:
    """Return (1 - t)^2 / (s^2 + u^2) (B,), the weight that keeps gradients level.

    s: level of the view; u: `Operator.unseen`.
    """
    return (1 - t) * inverse_gradient_variance(view, t)


def inverse_gradient_variance(view: Measurement, t: Tensor) -> Tensor:
    """Return (1 - t) / (s^2 + u^2) (B,), about the inverse of the gradient's variance.

    Without noise in the target the gradient varies by V, from the images and the noise of the input; the target's
    noise, s^2 t / (1 - t), adds about V t / (1 - t) (benchmarks/gradient_variance.py measures both). Their sum is
    V / (1 - t). `inverse_target_variance` is that of the second part alone, and leaves levels near sigma unheard.
    """
    return (1 - t) / (view.level**2 + view.operator.unseen**2)


class Recorruption(Loss):
    """weight(y_t, t) times an unbiased estimate of |A (f(y_t) - x)|^2 / m, t drawn per sample. One pass.

    ratio:  law of s / sigma = t^(-1/2), > 1: how much noisier the view is; UnveilError for a LogUniform that is not.
    weight: None is 1, the plain loss.
    """

    def __init__(self, ratio: Law | None = None, weight: Weight | None = None) -> None:
        self.ratio = ratio or LogUniform(1.2, 3.0)
        if isinstance(self.ratio, LogUniform) and not self.ratio.low > 1:
            raise UnveilError(
                f"the ratio s / sigma must be > 1, not from {self.ratio.low}: at 1 the target's variance is infinite"
            )
        self.weight = weight

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        t = self.ratio(m.level, generator) ** -2
        view, rest = m.recorrupt(t, generator)
        residual = m.mean_square(rest.y - m.predict(f(view)))
        loss = residual - m.operator.mean(rest.noise.estimated_variance(rest.y))
        return loss if self.weight is None else self.weight(view, t) * loss
