"""The inflation: nothing for an exact estimator, and the right spread for one whose increments are too small."""

import pytest
import torch
from known_laws import noisy, one_gamma

from unveil.diffusion import fit_inflation, geometric, go_on, posterior_samples
from unveil.errors import UnveilError
from unveil.instruments.inpainting.operator import inpainting
from unveil.losses import Stein
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators.identity import Identity
from unveil.random import make_generator, normal
from unveil.shapes import expand

V, SIGMA = 0.2**2, 0.1
SHARE = V / (V + SIGMA**2)
MMSE = SHARE * SIGMA**2


def moving(share):
    """f right at SIGMA, where it is an unbiased start; below, its estimate moves by `share` of what it should."""

    def f(m):
        slope = SHARE + share * (V / (V + m.level**2) - SHARE)
        x = 0.5 + expand(slope, m.y) * (m.y - 0.5)
        return x if m.operator.measured is None else torch.where(m.operator.measured, x, 0.5)

    return f


exact, too_sure = moving(1.0), moving(0.8)


def images(device, dtype, shape=(8, 1, 64, 64)):
    x = 0.5 + V**0.5 * normal(torch.zeros(shape, device=device, dtype=dtype), make_generator(device, 5))
    return x, noisy(x + SIGMA * normal(x, make_generator(device, 6)), SIGMA)


@pytest.fixture
def pair(device, dtype):
    return images(device, dtype)


def spread(f, m, inflation, steps=25, key=(7,)):
    x = posterior_samples(f, m, make_generator(m.y.device, *key), samples=2, steps=steps, inflation=inflation)
    return float(m.operator.mean(x.var(0)).mean())


def test_exact_estimators_need_none(pair):
    assert fit_inflation(exact, pair[1]) < 0.03


def test_exact_estimators_of_counts_need_none(device, dtype):
    """Hudson's identity to first order is exact for this f, which is linear in the counts."""
    prior = one_gamma(2.0, 0.5).to(device)
    # x ~ Gamma(2, rate 0.5) is 2 times the sum of two exponentials
    e = torch.rand(2, 8, 1, 64, 64, generator=make_generator(device, 5), device=device, dtype=dtype)
    x, noise = -2 * (1 - e).log().sum(0), Poisson(1.0)
    m = Measurement(noise.sample(x, make_generator(device, 6)), Identity(), noise)
    assert float((prior.estimate(m) - x).square().mean()) == pytest.approx(8 / 3, rel=0.05)
    assert fit_inflation(prior.estimate, m) < 0.04


@pytest.mark.parametrize("steps", [10, 25])
def test_the_fitted_inflation_restores_the_spread_without_a_reference(pair, steps):
    x, m = pair
    error = float((too_sure(m) - x).square().mean())
    assert error == pytest.approx(MMSE, rel=0.03)
    assert spread(too_sure, m, 0.0, steps) < 0.85 * error
    inflation = fit_inflation(too_sure, m, steps=steps)
    # the fit stops within 2%; Stein's estimate over 32,768 pixels has a standard error of 0.8% for this linear f
    assert spread(too_sure, m, inflation, steps) == pytest.approx(error, rel=0.06)


@pytest.mark.parametrize("several", [False, True])
def test_it_is_fitted_where_something_is_measured(several, pair):
    """Behind a mask, or masks of their own: the missing entries, whose estimate and samples are 1/2, count in
    neither."""
    x, m = pair
    keep = torch.rand(8, 64, 64, generator=make_generator(x.device, 9), device=x.device) < 0.6
    m = Measurement(m.y, inpainting(keep if several else keep[0]), m.noise)
    error = float(m.mean_square(too_sure(m) - x).mean())
    assert error == pytest.approx(MMSE, rel=0.03)
    inflation = fit_inflation(too_sure, m)
    assert spread(too_sure, m, 0.0) < 0.85 * error
    assert spread(too_sure, m, inflation) == pytest.approx(error, rel=0.07)


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8, 0.9])
def test_the_fit_ends_within_its_tolerance_on_its_own_draws(share, device, dtype):
    """Not only near it: the search must not stop at the end that it has just moved."""
    f, (_, m) = moving(share), images(device, dtype, (4, 1, 32, 32))
    probe = make_generator(device, 0, 0)
    error = float(torch.stack([Stein()(f, m, probe) for _ in range(8)]).mean())
    inflation = fit_inflation(f, m)
    assert spread(f, m, inflation, key=(0, 1)) == pytest.approx(error, rel=0.025)


def test_it_leaves_the_mean_alone_and_widens_the_spread(pair):
    _, m = pair
    errors = {}
    for inflation in (0.0, 0.3):
        on = go_on(exact, m, geometric(0.05, 20), make_generator(m.y.device, 8), inflation=inflation)
        errors[inflation] = exact(on) - exact(m)
    error = (MMSE / m.y.numel()) ** 0.5
    assert abs(float(errors[0.0].mean())) < 4 * error
    assert abs(float(errors[0.3].mean())) < 4 * 2 * error
    assert float(errors[0.3].var()) > 1.2 * float(errors[0.0].var())


@pytest.mark.parametrize("steps", [1, 2])
def test_with_too_few_steps_it_plays_no_part(steps, pair):
    assert fit_inflation(too_sure, pair[1], steps=steps) == 0
    x = [spread(too_sure, pair[1], inflation, steps) for inflation in (0.0, 0.5)]
    assert x[0] == x[1]


def test_it_ends_at_its_largest_where_none_suffices(device, dtype):
    """An estimate that does not depend on y: samples without any spread."""
    _, m = images(device, dtype, (2, 1, 32, 32))
    assert fit_inflation(lambda m: torch.full_like(m.y, 0.5), m, steps=5) == pytest.approx(0.8)


def test_less_noise_than_is_said_is_refused(device):
    flat = torch.full((1, 1, 8, 8), 0.5, device=device)
    with pytest.raises(UnveilError, match="more or larger measurements"):
        fit_inflation(lambda m: torch.full_like(m.y, 0.5), Measurement(flat, Identity(), Gaussian(SIGMA)))
