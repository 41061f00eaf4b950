"""The closed forms the other tests rest on, against Bayes' rule summed on a grid."""

import torch
from priors import bimodal


def test_denoiser_and_posterior_against_a_grid():
    prior, y, s = bimodal(), torch.tensor([0.45, 0.5], dtype=torch.float64), 0.1
    axis = torch.linspace(-0.2, 1.2, 701, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    density = sum(
        p * torch.distributions.MultivariateNormal(m, c).log_prob(x).exp()
        for p, m, c in zip(prior.weights, prior.means, prior.covs)
    )
    density = density * (-((x - y) ** 2).sum(1) / (2 * s**2)).exp()
    density /= density.sum()
    mean = density @ x
    cov = torch.einsum("b,bi,bj->ij", density, x - mean, x - mean)
    posterior = prior.posterior(y, s)
    torch.testing.assert_close(posterior.mean(), mean, atol=1e-8, rtol=0)
    torch.testing.assert_close(posterior.cov(), cov, atol=1e-8, rtol=0)
    torch.testing.assert_close(prior.denoise(y[None], torch.tensor([s]).double())[0], mean, atol=1e-8, rtol=0)
