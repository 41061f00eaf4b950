"""Draws about f(y) have its mean, and spread in A x as f errs: signals of two contrasts, of which f knows which."""

import pytest
import torch

from unveil.diffusion import draws_about
from unveil.estimators import Stationary
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator

SIDE, SIGMA, COUNT = 8, 0.2, 4000
OPERATOR = Inpainting((1, SIDE, SIDE), torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 0)) < 0.6)


def stationary(factor):
    prior = Stationary((1, SIDE, SIDE), 0.0, 0.3).double()
    prior.spectrum *= factor
    return prior


LOW, HIGH = stationary(0.1), stationary(1.9)
BOTH = stationary(1.0)  # of as many of each, what their spectrum tells


def measured():
    """x (2 COUNT, 1, SIDE, SIDE), the first half of low contrast, and y."""
    generator = make_generator("cpu", 1)
    like = torch.zeros(COUNT, 1, SIDE, SIDE, dtype=torch.float64)
    x = torch.cat([prior.draw(like, generator) for prior in (LOW, HIGH)])
    noise = Gaussian(torch.tensor(SIGMA, dtype=torch.float64))
    return x, Measurement(noise.sample(OPERATOR.A(x), generator), OPERATOR, noise)


def knowing(m):
    """E[x | y, the contrast]."""
    half = len(m) // 2
    return torch.cat([LOW.estimate(m[:half]), HIGH.estimate(m[half:])])


@pytest.mark.parametrize("factor", [1.0, 1.5], ids=["the spectrum", "half too much of it"])
def test_they_spread_in_what_a_sees_as_f_errs(factor):
    x, m = measured()
    x_hat, prior = knowing(m), stationary(factor)
    drawn = draws_about(knowing, prior, m, make_generator("cpu", 2))
    spread, error = (m.mean_square(m.predict(t - x_hat)) for t in (drawn, x))
    # rho is of the batch: what E|y|^2 - |A f|^2 tells, and what it is of
    told = m.mean_square(m.y) - SIGMA**2 - m.mean_square(m.predict(x_hat))
    torch.testing.assert_close(spread.mean(), told.mean())
    off = told - error
    deviation = (off.var() / len(x)).sqrt()
    assert off.mean().abs() < 4 * deviation
    wide = m.mean_square(m.predict(prior.posterior_draw(m, make_generator("cpu", 2)) - prior.estimate(m)))
    assert wide.mean() - error.mean() > 8 * deviation, "the stationary prior's own draws are wider than f errs"


def test_their_mean_is_f():
    _, m = measured()
    few = m[torch.tensor([0, 1, COUNT, COUNT + 1])]
    drawn = torch.stack([draws_about(knowing, BOTH, few, make_generator("cpu", 3, k)) for k in range(100)])
    z = (drawn.mean(0) - knowing(few)) / (drawn.std(0) / 10)
    assert abs(float(z.square().mean()) - 1) < 4 * (2 / z.numel()) ** 0.5 * 2  # neighbours correlate
