"""Draws about f(y), as wide as f errs, shaped as the best linear estimate errs.

    x' = f(y) + rho (x_S - W y),    x_S ~ p(x | y) under the stationary prior, W y = E[x_S | y]

With rho^2 = E|A (x - f(y))|^2 / E|A (x_S - W y)|^2 they are as wide in A x as f errs there. For f = E[x | y] the law of
total variance tells it from measurements alone, whatever the signals are and however well S is known:

    E|A (x - f(y))|^2 = E|A x|^2 - E|A f(y)|^2,     E|A x|^2 = E|y|^2 - E var(n)

For signals whose levels below that of y no loss teaches, so that no measurement can go on (particles): the mean of the
draws is right, and their spread in A x; their shape is that of a Gaussian image about what f knows. (ours)
"""

import torch
from torch import Tensor

from unveil.estimators.stationary import Stationary
from unveil.measurement import Estimator, Measurement

__all__ = ["draws_about"]


@torch.no_grad()
def draws_about(f: Estimator, prior: Stationary, m: Measurement, generator: torch.Generator) -> Tensor:
    """Draw x' (B, *image), one for each measurement; rho is that of the batch.

    f: E[x | y]. prior: N(m, S) under the spectrum S that measurements told (`unveil.training.spectrum`).
    """
    x_hat = f(m)
    deviation = prior.posterior_draw(m, generator) - prior.estimate(m)
    left = m.mean_square(m.y) - m.level**2 - m.mean_square(m.predict(x_hat))
    rho = (left.mean() / m.mean_square(m.predict(deviation)).mean()).clamp_min(0).sqrt()
    return x_hat + rho * deviation
