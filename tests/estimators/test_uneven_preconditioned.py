"""Noise of another level in each pixel: f begins from the best estimate of white signals, and leaves g unit targets."""

import pytest
import torch

from unveil.estimators import Preconditioned
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal

MEAN, V, SIDE, BATCH = 0.4, 0.2, 12, 3000


class Answer(torch.nn.Module):
    """g that answers with a constant, and keeps what it was shown."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = value

    def forward(self, u, c):
        self.shown = u
        return torch.full_like(u[:, :1], self.value)


def level():
    return 0.02 * 100 ** torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 1), dtype=torch.float64)


def operators():
    mask = torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 2)) < 0.7
    return [Identity(), Inpainting((1, SIDE, SIDE), mask)]


@pytest.mark.parametrize("which", [0, 1])
def test_white_signals_are_estimated_best_and_what_is_left_has_unit_variance(which):
    operator = operators()[which]
    x = MEAN + V * normal(torch.empty(BATCH, 1, SIDE, SIDE, dtype=torch.float64), make_generator("cpu", 3))
    noise = Gaussian(level())
    m = Measurement(operator.project(noise.sample(x, make_generator("cpu", 4))), operator, noise)
    g = Answer()
    x_hat = Preconditioned(g, MEAN, V, views=2)(m)
    seen = operator.A(torch.ones_like(x))
    best = MEAN + seen * V**2 / (V**2 + noise.sigma**2) * (m.y - MEAN)
    torch.testing.assert_close(x_hat, best)
    spread = Preconditioned(Answer(1.0), MEAN, V, views=2)(m) - x_hat
    target = (x - x_hat) / spread
    assert float((target.square().mean(0) - 1).abs().max()) < 5 * (2 / BATCH) ** 0.5
    shown = g.shown[:, :1][:, seen[0] > 0].square().mean(0)
    assert float((shown - 1).abs().max()) < 5 * (2 / BATCH) ** 0.5, "g is shown unit variance"
    told = g.shown[:1, 1:] * (V**2 + noise.sigma**2).sqrt()
    torch.testing.assert_close(told, noise.sigma * seen[:1])


def test_a_map_of_one_level_is_that_level():
    y = torch.rand(2, 1, SIDE, SIDE, generator=make_generator("cpu", 5), dtype=torch.float64)
    f = Preconditioned(Answer(0.3), MEAN, V, views=2)
    plain = Preconditioned(Answer(0.3), MEAN, V)
    even = Gaussian(torch.full((SIDE, SIDE), 0.1, dtype=torch.float64))
    torch.testing.assert_close(
        f(Measurement(y, Identity(), even)), plain(Measurement(y, Identity(), Gaussian(torch.tensor(0.1).double())))
    )
    camera = [PoissonGaussian(0.01, read, 0.0) for read in (0.1, torch.full((SIDE, SIDE), 0.1, dtype=torch.float64))]
    one, maps = (f(Measurement(y, Identity(), noise)) for noise in camera)
    torch.testing.assert_close(one, maps, rtol=1e-3, atol=1e-3)
