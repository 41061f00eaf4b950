"""The weak order of each solver, measured without Monte Carlo and compared with the one it states.

For a Gaussian signal a solver is linear in x and in its draws w_1..w_N. Fed with w = 0 and with each unit
vector, it shows its mean and its coefficients; the sum of their squares is the variance of its output. Both
are compared with the law of x_s given y at the last level above 0: the step to 0 plays no part.

For a mixture the draws are the points of a scrambled Sobol' sequence, whose error is far below the solvers'.
"""

import sys

import numpy as np
import pytest
import torch
from priors import Mixture, bimodal, gaussian
from scipy.fft import idct
from scipy.stats import norm, qmc

from unveil.diffusion import SOLVERS, geometric, karras

every_solver = pytest.mark.parametrize("solver", [cls() for cls in SOLVERS.values()], ids=list(SOLVERS))
TOLERANCE = 0.25


def feed(monkeypatch, solver, draws):
    """Make the solver's k-th draw draws[k]."""
    source = iter(draws)
    monkeypatch.setattr(sys.modules[type(solver).__module__], "normal", lambda like, generator: next(source))


def law(monkeypatch, solver, prior, y, levels):
    """The exact mean and variance of the solver's output for a 1-D Gaussian prior, y a number."""
    n = len(levels) - 1 - int(levels[-1] == 0)
    feed(monkeypatch, solver, torch.eye(n + 1, dtype=torch.float64)[1:].reshape(n, n + 1, 1))
    out = solver.solve(prior.denoise, torch.full((n + 1, 1), y, dtype=torch.float64), levels, None)
    return float(out[0]), float(((out[1:] - out[0]) ** 2).sum())


def uneven(high, low, steps):
    """Steps of lambda alternately 1 and 3 long: a multistep solver must weigh the last step by its length."""
    share = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(steps)[: steps - 1].cumsum(0)
    levels = high * (low / high) ** (share / share[-1])
    return torch.cat([torch.tensor([high], dtype=torch.float64), levels, torch.zeros(1, dtype=torch.float64)])


def slope(steps, errors):
    return -np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]


@every_solver
@pytest.mark.parametrize("std", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("schedule", [geometric, karras, uneven])
def test_order_on_a_gaussian(solver, std, schedule, monkeypatch):
    prior, y, s_n, s = gaussian([0.3], [[std**2]]), 0.5, 0.2, 0.01
    exact = prior.posterior(torch.tensor([y], dtype=torch.float64), s_n, s)
    steps, errors = [40, 80, 160, 320], []
    for n in steps:
        mean, variance = law(monkeypatch, solver, prior, y, schedule(s_n, s, n + 1)[:-1])
        # the mean is exact, for D is a martingale of the reverse diffusion
        assert mean == pytest.approx(float(exact.mean()), abs=1e-12)
        errors.append(variance / float(exact.cov()) - 1)
    assert slope(steps, errors) == pytest.approx(solver.order, abs=TOLERANCE), errors


@every_solver
def test_order_on_a_mixture(solver, monkeypatch):
    full = bimodal()
    prior = Mixture(full.weights, full.means[:, :1], full.covs[:, :1, :1] + 0.05**2)  # 1-D, smoothed
    y, s_n, s = torch.tensor([0.4], dtype=torch.float64), 0.1, 0.02
    exact = prior.posterior(y, s_n, s)
    steps, means, variances = [6, 12, 24], [], []
    for n in steps:
        points = norm.ppf(qmc.Sobol(n, seed=0).random_base2(15))
        draws = idct(points, norm="ortho", axis=1)  # Sobol's best coordinate, the first, is the sum
        feed(monkeypatch, solver, torch.from_numpy(draws.T.copy())[:, :, None])
        x = solver.solve(prior.denoise, y.expand(2**15, 1), geometric(s_n, s, n + 1)[:-1], None)
        means.append(float(x.mean() - exact.mean()))
        variances.append(float(x.var() / exact.cov()) - 1)
    assert slope(steps, means) == pytest.approx(solver.order, abs=TOLERANCE), means
    assert slope(steps, variances) == pytest.approx(solver.order, abs=TOLERANCE), variances


# Relative error of the posterior variance for s from 0.1 to 0.001 and 0, as the docstrings state it.
BIAS = {
    ("ancestral", 0.2): {25: -0.292, 50: -0.156, 100: -0.080},
    ("heun", 0.2): {25: 0.0086, 50: 0.0021, 100: 0.0004},
    ("dpm2m", 0.2): {25: -0.0195, 50: -0.0045, 100: -0.0012},
    ("ancestral", 0.03): {25: -0.184, 50: -0.097, 100: -0.050},
    ("heun", 0.03): {25: 0.0186, 50: 0.0035, 100: 0.0000},
    ("dpm2m", 0.03): {25: 0.0111, 50: 0.0018, 100: -0.0005},
}


@pytest.mark.parametrize(("name", "std"), BIAS)
def test_stated_variance_bias(name, std, monkeypatch):
    prior, y = gaussian([0.3], [[std**2]]), 0.5
    exact = prior.posterior(torch.tensor([y], dtype=torch.float64), 0.1).cov()
    for n, stated in BIAS[name, std].items():
        _, variance = law(monkeypatch, SOLVERS[name](), prior, y, geometric(0.1, 0.001, n))
        assert variance / float(exact) - 1 == pytest.approx(stated, abs=6e-4 if name != "ancestral" else 6e-3)
