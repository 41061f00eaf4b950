"""Draws about f(y), as wide as f errs, shaped as the best linear estimate errs.

    x' = f(y) + rho (x_S - W y),    x_S ~ p(x | y) under the stationary prior, W y = E[x_S | y]

With rho^2 = 1 - E|f(y) - W y|^2 / E|x_S - W y|^2 they have the variance of x about f(y): for f = E[x | y], and W the
best linear estimate, E|x - W y|^2 = E|x - f(y)|^2 + E|f(y) - W y|^2. For signals whose levels below that of y no loss
teaches, so that no measurement can go on (particles): the mean of the draws is right, and their spread in all; their
shape is that of a Gaussian image about what f knows. (ours)
"""

import torch
from torch import Tensor

from unveil.estimators.stationary import Stationary
from unveil.measurement import Estimator, Measurement

__all__ = ["draws_about"]


@torch.no_grad()
def draws_about(f: Estimator, prior: Stationary, m: Measurement, generator: torch.Generator) -> Tensor:
    """Draw x' (B, *image), one for each measurement; rho is that of the batch.

    f: E[x | y]. prior: N(m, S) under the spectrum S that measurements told (`unveil.training.spectrum`), in whose terms
    f errs no more than W y does.
    """
    x_hat, linear = f(m), prior.estimate(m)
    deviation = prior.posterior_draw(m, generator) - linear
    explained = (x_hat - linear).square().mean() / deviation.square().mean()
    return x_hat + (1 - explained).clamp_min(0).sqrt() * deviation
