"""The gain: nothing for an exact denoiser, and the right spread for one whose increments are too small."""

import pytest
import torch

from unveil.diffusion import DPM2M, fit_gain, geometric, posterior_samples, reconstruction_samples
from unveil.errors import UnveilError
from unveil.operators import inpainting
from unveil.random import make_generator, normal
from unveil.risks import SURE

V, SIGMA = 0.2**2, 0.1
MMSE = V * SIGMA**2 / (V + SIGMA**2)


def exact(x, s):
    """E[x0 | x_s = x] of N(1/2, V) pixels."""
    return 0.5 + (V / (V + s**2)).reshape(-1, 1, 1, 1) * (x - 0.5)


def too_sure(x, s):
    """Right at SIGMA, where it is an unbiased start; below, its estimate hardly moves any more."""
    share = V / (V + SIGMA**2)
    moves = share + (V / (V + s**2) - share) * 0.8
    return 0.5 + moves.reshape(-1, 1, 1, 1) * (x - 0.5)


@pytest.fixture
def pair(device, dtype):
    like = torch.zeros(8, 1, 64, 64, device=device, dtype=dtype)
    x = 0.5 + V**0.5 * normal(like, make_generator(device, 5))
    return x, x + SIGMA * normal(x, make_generator(device, 6))


def spread(f, y, gain, steps=25):
    drawn = posterior_samples(
        f,
        y,
        SIGMA,
        samples=2,
        steps=steps,
        solver=DPM2M(gain),
        sigma_min=0.05 * SIGMA,
        generator=make_generator(y.device, 7),
    )
    return float(drawn.var(0).mean())


def test_exact_denoisers_need_no_gain(pair):
    assert fit_gain(exact, pair[1], SIGMA, sigma_min=0.05 * SIGMA) < 0.03


@pytest.mark.parametrize("steps", [10, 25])
def test_the_fitted_gain_restores_the_spread_without_a_reference(pair, steps):
    x, y = pair
    error = float((too_sure(y, torch.full((len(y),), SIGMA).to(y)) - x).square().mean())
    assert error == pytest.approx(MMSE, rel=0.03)
    assert spread(too_sure, y, 0.0, steps) < 0.85 * error
    gain = fit_gain(too_sure, y, SIGMA, sigma_min=0.05 * SIGMA, steps=steps)
    # The fit stops within 2%; Stein's estimate over 32,768 pixels has a standard error of 0.8% for this linear f.
    assert spread(too_sure, y, gain, steps) == pytest.approx(error, rel=0.06)


def test_the_gain_leaves_the_mean_alone_and_widens_the_spread(pair):
    _, y = pair
    levels = geometric(SIGMA, 0.05 * SIGMA, 20)
    means, variances = [], []
    for gain in (0.0, 0.3):
        drawn = DPM2M(gain).solve(exact, y, levels, make_generator(y.device, 8))
        means.append(float((drawn - exact(y, torch.full((len(y),), SIGMA).to(y))).mean()))
        variances.append(float((drawn - exact(y, torch.full((len(y),), SIGMA).to(y))).var()))
    error = (MMSE / y.numel()) ** 0.5
    assert abs(means[0]) < 4 * error
    assert abs(means[1]) < 4 * 2 * error
    assert variances[1] > 1.2 * variances[0]


def test_refusals(pair):
    with pytest.raises(UnveilError, match="gain is -1"):
        DPM2M(-1)
    flat = torch.full((1, 1, 8, 8), 0.5, device=pair[1].device)  # less noise than it is said to have
    with pytest.raises(UnveilError, match="more or larger measurements"):
        fit_gain(lambda x, s: torch.full_like(x, 0.5), flat, SIGMA)


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8, 0.9])
def test_the_fit_ends_within_its_tolerance_on_its_own_draws(share, device):
    """Not only near it: the search must not stop at the end that it has just moved."""

    def f(x, s):
        start = V / (V + SIGMA**2)
        return 0.5 + (start + (V / (V + s**2) - start) * share).reshape(-1, 1, 1, 1) * (x - 0.5)

    x = 0.5 + V**0.5 * normal(torch.zeros(4, 1, 32, 32, device=device), make_generator(device, 5))
    y = x + SIGMA * normal(x, make_generator(device, 6))
    level = torch.full((len(y),), SIGMA, device=device)
    probe = make_generator(device, 0, 0)
    error = float(torch.stack([SURE()(f, y, level, probe) for _ in range(8)]).mean())
    gain = fit_gain(f, y, SIGMA, sigma_min=0.05 * SIGMA)
    drawn = posterior_samples(
        f,
        y,
        SIGMA,
        samples=2,
        steps=25,
        solver=DPM2M(gain),
        sigma_min=0.05 * SIGMA,
        generator=make_generator(device, 0, 1),
    )
    assert float(drawn.var(0).mean()) == pytest.approx(error, rel=0.025)


@pytest.mark.parametrize("steps", [1, 2])
def test_too_few_steps_for_a_gain(steps, pair):
    assert fit_gain(too_sure, pair[1], SIGMA, steps=steps) == 0


@pytest.mark.parametrize("several", [False, True])
def test_the_gain_is_fitted_where_something_is_measured(several, pair):
    """Behind a mask, or masks of their own: the missing entries, whose estimate and samples are 1/2, count in neither."""
    x, y = pair
    keep = torch.rand(8, 64, 64, generator=make_generator(x.device, 9), device=x.device) < 0.6
    problem = inpainting(keep if several else keep[0])
    part = problem.at(torch.arange(8, device=x.device))
    y = part.project(y)

    def sure_of_too_much(u, s, part=part):
        return too_sure(u, s) if part.measured is None else torch.where(part.measured, too_sure(u, s), 0.5)

    level = torch.full((8,), SIGMA).to(y)
    g = sure_of_too_much if several else lambda u, s: sure_of_too_much(u, s, problem)
    gain = fit_gain(sure_of_too_much, y, SIGMA, sigma_min=0.05 * SIGMA, problem=problem)
    difference = sure_of_too_much(y, level) - x
    error = float(part.inner(difference, difference).mean())
    assert error == pytest.approx(MMSE, rel=0.03)

    def measured_spread(gain):
        drawn = reconstruction_samples(
            g, problem, y, SIGMA, samples=2, solver=DPM2M(gain), sigma_min=0.05 * SIGMA, generator=make_generator(y.device, 7),
        )  # fmt: skip
        return float(part.inner(drawn.var(0), torch.ones_like(y)).mean())

    assert measured_spread(0.0) < 0.85 * error
    assert measured_spread(gain) == pytest.approx(error, rel=0.07)
