"""Correlated noise: posterior samples of Gaussian signals against their law, in closed form; white draws must fail."""

from dataclasses import dataclass

import pytest
import torch

from unveil.diffusion import go_on, karras
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gaussian
from unveil.operators import Identity, blur
from unveil.random import make_generator

H, W, N, DRAWS = 4, 5, 20, 6000
KERNEL = torch.tensor([[0.3, 0.7, 0.3], [0.5, 1.0, 0.5]])


def of_plane(function):
    """(N, N): function(distance) between pixels."""
    place = torch.stack(torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij"), -1).reshape(-1, 2).double()
    return function(torch.cdist(place, place))


def by_draws(noise):
    """The covariance of the noise, from its parameters: columns of L, as the noise of single white entries."""
    g = noise.kernel.double()
    h, w = g.shape
    columns = []
    for i in range(H + h - 1):
        for j in range(W + w - 1):
            image = torch.zeros(H, W, dtype=torch.float64)
            for a in range(h):
                for b in range(w):
                    if 0 <= i - a < H and 0 <= j - b < W:
                        image[i - a, j - b] = g[a, b]
            columns.append(image.flatten())
    rows = torch.kron(torch.eye(H), torch.ones(W, W)).double()
    factor = torch.stack(columns, 1)
    share = float(noise.rows)
    return float(noise.sigma) ** 2 * ((1 - share) * factor @ factor.T + share * rows)


@dataclass
class Law:
    """x ~ N(0.5, S), y = A x + n, n ~ N(0, C)."""

    operator: object
    noise: Correlated

    def __post_init__(self):
        self.S = 0.04 * of_plane(lambda d: torch.exp(-d / 1.5))
        basis = torch.eye(N, dtype=torch.float64).reshape(N, 1, H, W)
        self.A = self.operator.A(basis).reshape(N, N).T
        self.C = by_draws(self.noise)

    def f(self, m):
        """E[x | y] at the exposure that the level tells; each sample's is the same."""
        t = float(self.noise.sigma / m.level[0]) ** 2
        gain = self.S @ self.A.T @ torch.linalg.inv(self.A @ self.S @ self.A.T + self.C / t)
        r = m.y.flatten(1) - 0.5 * self.A.sum(1)
        return (0.5 + r @ gain.T).reshape(m.y.shape)

    def covariance(self):
        """Of A x given y."""
        inner = self.A @ self.S @ self.A.T
        return inner - inner @ torch.linalg.inv(inner + self.C) @ inner


def draw(law, noise):
    y = 0.5 + 0.2 * torch.randn(1, 1, H, W, generator=make_generator("cpu", 2), dtype=torch.float64)
    m = Measurement(law.operator.A(y).expand(DRAWS, -1, -1, -1), law.operator, noise)
    on = go_on(law.f, m, karras(0.02, 60), make_generator("cpu", 1))
    return law.operator.A(law.f(m))[0].flatten(), law.operator.A(law.f(on)).flatten(1)


def spread_over(law, samples):
    """The variance of the samples over the exact one, in the least, middle and largest of the posterior's
    directions."""
    values, vectors = torch.linalg.eigh(law.covariance())
    along = (samples - samples.mean(0)) @ vectors
    return along.square().mean(0) / values


CASES = {"identity": lambda: Identity(), "blur": lambda: blur(torch.tensor([[0.1, 0.6, 0.3]]), H, W, 1)}


@pytest.mark.parametrize("name", CASES)
def test_samples_are_those_of_the_posterior(name):
    law = Law(CASES[name](), Correlated(torch.tensor(0.1, dtype=torch.float64), KERNEL.double(), rows=0.3))
    mean, samples = draw(law, law.noise)
    ratio = spread_over(law, samples)
    assert ((ratio - 1).abs() < 5 * (2 / DRAWS) ** 0.5 + 0.03).all()
    deviation = law.covariance().diagonal().sqrt()
    assert ((samples.mean(0) - mean).abs() < 5 * deviation / DRAWS**0.5 + 1e-6).all()


def test_going_on_with_white_noise_is_told_apart():
    law = Law(Identity(), Correlated(torch.tensor(0.1, dtype=torch.float64), KERNEL.double(), rows=0.3))
    _, samples = draw(law, Gaussian(law.noise.sigma))
    assert (spread_over(law, samples) - 1).abs().max() > 0.5
