"""Gaussian noise with a map of its level: samples of Gaussian signals against their law, in closed form.

x ~ N(mu, C) of N pixels that go together, y = x + n, n_i ~ N(0, s_i^2): mean and covariance of x given y are those of
linear regression. One level for all pixels, the root of the mean square, must fail.
"""

import torch

from unveil.diffusion import posterior_samples
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator

H, W, DRAWS = 2, 3, 8000
N = H * W
SIGMA = torch.tensor([[0.05, 0.4, 0.1], [0.2, 0.02, 0.1]], dtype=torch.float64)


def prior():
    place = torch.stack(torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij"), -1).reshape(N, 2).double()
    return 0.04 * torch.exp(-torch.cdist(place, place) / 2)


def estimate(m):
    """E[x | y] (B, 1, H, W), of the variance that each pixel of each sample has."""
    v = m.noise.variance(m.y).flatten(1)
    gain = prior() @ torch.linalg.inv(prior() + torch.diag_embed(v))
    return (0.5 + (gain @ (m.y.flatten(1) - 0.5)[:, :, None])[:, :, 0]).reshape(m.y.shape)


def off(noise):
    """How far mean and covariance of the samples are from the exact ones, in standard errors."""
    y = torch.tensor([[[[0.7, 0.9, 0.3], [0.4, 0.6, 0.5]]]], dtype=torch.float64)
    m = Measurement(y, Identity(), noise)
    x = posterior_samples(estimate, m, make_generator("cpu", 3), samples=DRAWS, steps=60, lowest=0.02, batch=100_000)
    x = x[:, 0].flatten(1)
    true = Measurement(y, Identity(), Gaussian(SIGMA))
    exact = prior() - prior() @ torch.linalg.inv(prior() + torch.diag(SIGMA.flatten() ** 2)) @ prior()
    mean = (x.mean(0) - estimate(true).flatten()) / (exact.diagonal() / DRAWS).sqrt()
    spread = (x.var(0) / exact.diagonal() - 1) / (2 / DRAWS) ** 0.5
    product = torch.cov(x.T) - exact
    scale = ((exact.diagonal()[:, None] * exact.diagonal() + exact**2) / DRAWS).sqrt()
    return float(mean.abs().max()), float(spread.abs().max()), float((product / scale).abs().max())


def test_uneven_posterior():
    assert max(off(Gaussian(SIGMA))) < 4.5
    mean, spread, _ = off(Gaussian(SIGMA.square().mean().sqrt()))
    assert mean > 10
    assert spread > 10
