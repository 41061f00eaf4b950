"""The closed forms that the other tests rest on, against Bayes' rule summed on a grid."""

import pytest
import torch
from known_laws import Matrix, bimodal, noisy, two_gammas

from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators.identity import Identity


@pytest.mark.parametrize("a", [[[1.0, 0.0], [0.0, 1.0]], [[0.5, -0.7]], [[0.0, 1.0], [2.0, 0.3], [0.1, 0.1]]])
def test_estimator_and_posterior_of_a_mixture(a):
    prior, s = bimodal(), 0.1
    a = torch.tensor([a], dtype=torch.float64)
    seen = (a[0] @ torch.tensor([0.45, 0.5], dtype=torch.float64))[None]
    m = Measurement(seen, Matrix(a), Gaussian(s))
    axis = torch.linspace(-0.2, 1.2, 701, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    density = sum(
        p * torch.distributions.MultivariateNormal(mean, cov).log_prob(x).exp()
        for p, mean, cov in zip(prior.weights, prior.means, prior.covs)
    )
    density = density * (-((x @ a[0].T - seen) ** 2).sum(1) / (2 * s**2)).exp()
    density /= density.sum()
    mean = density @ x
    cov = torch.einsum("b,bi,bj->ij", density, x - mean, x - mean)
    posterior = prior.posterior(m)
    torch.testing.assert_close(posterior.mean(), mean, atol=1e-8, rtol=0)
    torch.testing.assert_close(posterior.cov(), cov, atol=1e-8, rtol=0)
    torch.testing.assert_close(prior.estimate(m)[0], mean, atol=1e-8, rtol=0)


def test_a_batch_of_unlike_measurements_is_estimated_one_by_one():
    prior = bimodal()
    y = torch.rand(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.2, 0.1, 0.05, 0.2])
    alone = torch.cat([prior.estimate(noisy(y[b : b + 1], float(sigma[b]))) for b in range(5)])
    torch.testing.assert_close(prior.estimate(noisy(y, sigma)), alone, atol=1e-7, rtol=0)


@pytest.mark.parametrize("count", [0, 3, 12])
@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_estimator_and_posterior_of_an_intensity(count, gain):
    prior = two_gammas()
    m = Measurement(torch.tensor([[gain * count]], dtype=torch.float64), Identity(), Poisson(gain))
    x = torch.linspace(1e-4, 30, 200_001, dtype=torch.float64)
    density = sum(
        p * torch.distributions.Gamma(a, b).log_prob(x).exp()
        for p, a, b in zip(prior.weights, prior.shapes, prior.rates)
    )
    density = density * torch.distributions.Poisson(x / gain).log_prob(torch.tensor(float(count))).exp()
    density /= density.sum()
    mean = density @ x
    posterior = prior.posterior(m)
    assert float(prior.estimate(m)) == pytest.approx(float(mean), abs=1e-6)
    assert float(posterior.mean()) == pytest.approx(float(mean), abs=1e-6)
    assert float(posterior.var()) == pytest.approx(float(density @ (x - mean) ** 2), abs=1e-6)
    assert posterior.cdf(float(x[1000 * 30])) == pytest.approx(float(density[: 1000 * 30].sum()), abs=1e-4)
