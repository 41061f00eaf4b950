"""The weak order of going on measuring, measured without Monte Carlo: 2, and less of the wrong variants.

Of a Gaussian signal the sampler is linear in y and in its draws w_1..w_N. Fed with w = 0 and with each unit vector, it
shows its mean and its coefficients; the sum of their squares is the variance of y_T given y. Both are compared with the
exact law,

    y_T | x, y ~ N(x + b (y - x), s^2 (1 - b)),      b = (s / sigma)^2:   a bridge

Counts have no such draws, but of an estimator that is linear in them the first two moments go on as with Gaussian
noise: E D~ is E[x | y] at every step, and the variance of z is affine in D~. The count's law is compared with that, by
    Monte Carlo.

For a mixture the draws are the points of a scrambled Sobol' sequence, whose error is far below the sampler's.
"""

import numpy as np
import pytest
import torch
from known_laws import Mixture, bimodal, gaussian, noisy, one_gamma, repeated
from levels import WRONG, dpm2m, uneven
from scipy.fft import idct
from scipy.stats import norm, qmc

from unveil.diffusion import geometric, go_on, karras
from unveil.measurement import Measurement
from unveil.noise import Poisson
from unveil.operators.identity import Identity
from unveil.random import make_generator

TOLERANCE = 0.25
SIGMA, Y = 0.2, 0.5
STEPS = [40, 80, 160]


def feed(monkeypatch, draws):
    """Make the k-th draw of Gaussian noise draws[k]."""
    source = iter(draws)
    monkeypatch.setattr("unveil.noise.gaussian.normal", lambda like, generator: next(source))


def units(steps):
    """w = 0 in the first row, and in each other one a unit vector: (steps, steps + 1, 1)."""
    return torch.eye(steps + 1, dtype=torch.float64)[1:, :, None]


def moments(y):
    return float(y[0]), float(((y[1:] - y[0]) ** 2).sum())


def law(monkeypatch, f, m, exposures):
    """The exact mean and variance of what `go_on` ends in, for a linear f and one number m."""
    draws = units(len(exposures) - 1)
    feed(monkeypatch, draws)
    return moments(go_on(f, repeated(m, draws.shape[1]), exposures, None).y)


def exact_law(prior, m, t):
    """The same without discretisation."""
    x = prior.posterior(m)
    b, s = 1 / t, float(m.level[0]) * t**-0.5
    return float(x.mean() + b * (m.y[0] - x.mean())), float((1 - b) ** 2 * x.cov() + s**2 * (1 - b))


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]


def number(y, sigma):
    return noisy(*(torch.tensor(value, dtype=torch.float64) for value in ([[y]], sigma)))


@pytest.mark.parametrize("std", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("schedule", [geometric, karras, uneven])
def test_order_on_a_gaussian(std, schedule, monkeypatch):
    prior, m, errors = gaussian([0.3], [[std**2]]), number(Y, SIGMA), []
    exact_mean, exact_variance = exact_law(prior, m, 400)
    for n in STEPS:
        mean, variance = law(monkeypatch, prior.estimate, m, schedule(0.05, n + 1))
        # the mean is exact, for A f is a martingale
        assert mean == pytest.approx(exact_mean, abs=1e-12)
        errors.append(variance / exact_variance - 1)
    assert slope(STEPS, errors) == pytest.approx(2, abs=TOLERANCE), errors


@pytest.mark.parametrize("variant", WRONG)
def test_wrong_variants_have_a_lower_order(variant):
    prior, m, errors = gaussian([0.3], [[0.1**2]]), number(Y, SIGMA), []
    exact_mean, exact_variance = exact_law(prior, m, 400)
    for n in STEPS:
        levels = SIGMA * uneven(0.05, n + 1)[:, None].expand(-1, n + 1) ** -0.5
        y = dpm2m(lambda u, s: prior.estimate(noisy(u, s)), m.y.expand(n + 1, 1), levels, units(n), **WRONG[variant])
        mean, variance = moments(y)
        assert mean == pytest.approx(exact_mean, abs=1e-12)
        errors.append(variance / exact_variance - 1)
    assert slope(STEPS, errors) < 1.3, errors


def test_order_on_a_mixture(monkeypatch):
    full = bimodal()
    factors = (full.covs[:, :1, :1] + 0.05**2).sqrt()
    prior = Mixture(full.weights, full.means[:, :1], factors)  # 1-D, smoothed
    m = number(0.4, 0.1)
    exact_mean, exact_variance = exact_law(prior, m, 25)
    steps, means, variances = [6, 12, 24], [], []
    for n in steps:
        points = norm.ppf(qmc.Sobol(n, seed=0).random_base2(15))
        draws = idct(points, norm="ortho", axis=1)  # Sobol's best coordinate, the first, is the sum
        feed(monkeypatch, torch.from_numpy(draws.T.copy())[:, :, None])
        y = go_on(prior.estimate, repeated(m, 2**15), geometric(0.2, n + 1), None).y
        means.append(float(y.mean()) - exact_mean)
        variances.append(float(y.var()) / exact_variance - 1)
    assert slope(steps, means) == pytest.approx(2, abs=TOLERANCE), means
    assert slope(steps, variances) == pytest.approx(2, abs=TOLERANCE), variances


@pytest.mark.parametrize("count", [0, 3, 10])
def test_counts_go_on_as_gaussian_noise_of_their_mean_variance(count, monkeypatch, device):
    """Of the very sampler with 6 steps, not of its limit.

    E[x | y] of Gamma(a, b) is that of a Gaussian with mean a / b.
    """
    gain, exposures, size = 0.5, karras(0.1, 7), 100_000
    prior = one_gamma(2.0, 1.5)
    m = Measurement(torch.tensor([[gain * count]], dtype=torch.float64), Identity(), Poisson(gain))
    f, middle = prior.estimate, float(prior.posterior(m).mean())
    on = go_on(prior.to(device).estimate, repeated(m, size).to(device), exposures, make_generator(device, 1))
    as_counts = lambda g: f(Measurement(g.y, Identity(), Poisson(g.noise.variance(g.y)[:, 0] / middle)))  # noqa: E731
    mean, variance = law(monkeypatch, as_counts, number(gain * count, (gain * middle) ** 0.5), exposures)
    assert float(on.y.mean()) == pytest.approx(mean, abs=4 * (variance / size) ** 0.5)
    # the excess kurtosis of these skewed laws is at most 3
    assert float(on.y.var()) == pytest.approx(variance, rel=4 * (5 / size) ** 0.5)


# Relative error of the variance of y_T, from t = 1 to 400, of signals of deviation `std` in noise of level 0.1, by
# steps.
BIAS = {
    (geometric, 0.03): {10: 0.0205, 25: 0.0040, 50: 0.0010},
    (geometric, 0.2): {10: -0.0651, 25: -0.0080, 50: -0.0019},
    (karras, 0.03): {10: 0.0422, 25: 0.0071, 50: 0.0017},
    (karras, 0.2): {10: -0.0062, 25: -0.0003, 50: 0.0000},
}


@pytest.mark.parametrize(("schedule", "std"), BIAS)
def test_bias_of_the_variance(schedule, std, monkeypatch):
    """What it is; and that 25 evaluations leave less than 1%, 50 less than 0.2%."""
    prior, m = gaussian([0.3], [[std**2]]), number(Y, 0.1)
    exact = exact_law(prior, m, 400)[1]
    for n, stated in BIAS[schedule, std].items():
        _, variance = law(monkeypatch, prior.estimate, m, schedule(0.05, n))
        assert variance / exact - 1 == pytest.approx(stated, abs=1e-4)
