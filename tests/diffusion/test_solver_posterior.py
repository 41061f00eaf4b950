"""Each solver draws p(x | y): means and covariances in standard errors, distributions by two-sample tests.

The discretisation is allowed for: 25 to 400 steps leave a relative error of the variance known from
`test_solver_order`, and the tests use steps enough that it is below the allowance stated here.
"""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from priors import bimodal, correlated
from scipy.spatial.distance import cdist
from scipy.stats import kstest

from unveil.diffusion import SOLVERS, Ancestral, geometric
from unveil.random import make_generator, normal

every_solver = pytest.mark.parametrize("solver", [cls() for cls in SOLVERS.values()], ids=list(SOLVERS))
STEPS = {1: 400, 2: 60}  # by order
ALLOWANCE = {1: 0.025, 2: 0.01}  # relative error of the variance at these steps
SIGMA_N = 0.1


def draw(solver, prior, y, n, seed, steps=None):
    levels = geometric(SIGMA_N, SIGMA_N / 100, steps or STEPS[solver.order])
    return solver.solve(prior.denoise, y.expand(n, -1), levels, make_generator(y.device, seed))


@every_solver
def test_gaussian_posterior(solver, device, dtype):
    n, prior = 20_000, correlated().to(torch.empty(0, dtype=dtype, device=device))
    y = torch.tensor([0.8, 0.35, 0.6], dtype=dtype, device=device)
    exact = prior.posterior(y, SIGMA_N)
    x = draw(solver, prior, y, n, seed=1)
    variance = exact.cov().diagonal()
    assert bool(((x.mean(0) - exact.mean()).abs() < 4 * (variance / n).sqrt()).all())
    # in the posterior's own axes the covariance is I; an entry's standard error is (2/n)^1/2 or (1/n)^1/2
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(exact.cov()), (x - exact.mean()).T, upper=False)
    error = (torch.cov(white) - torch.eye(3, dtype=dtype, device=device)).abs()
    assert float(error.max()) < 4 * (2 / n) ** 0.5 + ALLOWANCE[solver.order]


def energy_p(a, b, seed=0, permutations=300):
    """p-value of the hypothesis that a and b (n, d) have one law, by permutation of the energy distance
    (Székely & Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018)."""
    both, n = np.concatenate([a, b]), len(a)
    distance = cdist(both, both)
    side = np.repeat([1.0, -1.0], [n, len(b)])
    rng = np.random.default_rng(seed)
    signs = np.stack([side, *(rng.permutation(side) for _ in range(permutations))])
    energy = -np.einsum("pi,pi->p", signs @ distance, signs)
    return (energy >= energy[0]).mean()


def p_values(x, exact, seed=7):
    """Kolmogorov-Smirnov on each coordinate against the exact law; the energy test against its draws."""
    x = x.double().cpu()
    exact = exact.to(x)
    marginal = [kstest(x[:, i].numpy(), exact.marginal_cdf(i)).pvalue for i in range(x.shape[1])]
    return min(marginal), energy_p(x[:1200].numpy(), exact.sample(1200, make_generator("cpu", seed)).numpy())


def mixture_case(device, dtype):
    prior = bimodal().to(torch.empty(0, dtype=dtype, device=device))
    y = torch.tensor([0.45, 0.5], dtype=dtype, device=device)
    return prior, y, prior.posterior(y, SIGMA_N)


@every_solver
def test_mixture_posterior(solver, device, dtype):
    prior, y, exact = mixture_case(device, dtype)
    assert float(exact.weights.min()) > 0.1, "all three modes must be in play"
    x = draw(solver, prior, y, 3000, seed=2)
    marginal, energy = p_values(x, exact)
    assert marginal > 1e-3
    assert energy > 1e-2


def test_energy_test_holds_its_level():
    exact = mixture_case("cpu", torch.float64)[2]
    pairs = [[exact.sample(200, make_generator("cpu", side, i)) for side in (1, 2)] for i in range(40)]
    p = [energy_p(a.numpy(), b.numpy(), i) for i, (a, b) in enumerate(pairs)]
    assert 0.3 < np.mean(p) < 0.7


@every_solver
def test_too_little_noise_is_rejected(solver, device, dtype, monkeypatch):
    """0.8 w: Kolmogorov-Smirnov rejects by far. The energy test, which weighs the modes, at 0.6 w."""
    prior, y, exact = mixture_case(device, dtype)
    for scale in (0.8, 0.6):
        short = lambda like, generator, scale=scale: scale * normal(like, generator)  # noqa: E731
        monkeypatch.setattr(sys.modules[type(solver).__module__], "normal", short)
        marginal, energy = p_values(draw(solver, prior, y, 3000, seed=2), exact)
        assert marginal < 1e-6
    assert energy < 5e-3


def other_member(prior, y, n, lam, steps=400):
    """The reverse diffusions with the right law of x_s for each s: lam = 1 the exact reversal, 0 the ODE.

    dx = (1 + lam) (D - x) dlambda + (2 lam)^1/2 s dw, linear part exact.
    """
    x, generator = y.expand(n, -1), make_generator(y.device, 5)
    levels = geometric(SIGMA_N, SIGMA_N / 100, steps).tolist()
    for s, t in pairwise(levels):
        clean = prior.denoise(x, torch.full((n,), s, dtype=x.dtype, device=x.device))
        decay = (t / s) ** (1 + lam)
        noise = t * (1 - (t / s) ** (2 * lam)) ** 0.5 if lam else 0.0
        x = clean + decay * (x - clean) + noise * normal(x, generator)
    return x


@pytest.mark.parametrize("lam", [0.0, 0.5, 2.0])
def test_other_reverse_diffusions_are_rejected(lam, device, dtype):
    """Why `Solver` admits one equation alone: the others have the wrong law given y. Control below."""
    prior, y, exact = mixture_case(device, dtype)
    marginal, _ = p_values(other_member(prior, y, 3000, lam), exact)
    assert marginal < 1e-6


def test_the_exact_reversal_is_the_member_accepted(device, dtype):
    prior, y, exact = mixture_case(device, dtype)
    x = other_member(prior, y, 3000, 1.0)
    same = draw(Ancestral(), prior, y, 3000, seed=5)
    torch.testing.assert_close(x, same, atol=1e-3, rtol=0)
    marginal, energy = p_values(x, exact)
    assert marginal > 1e-3
    assert energy > 1e-2
