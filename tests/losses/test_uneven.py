"""Noise of another level in each pixel: losses are unbiased, told its map.

The mean of D = loss - |f(y_in) - x|^2 / m over many draws is 0; of Stein's estimate told one level it is not.
"""

import pytest
import torch
from loss_statistics import Recorder

from unveil.losses import LogUniform, Recorruption, Stein
from unveil.measurement import Measurement
from unveil.noise import Gaussian, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator

SIDE, REPEATS = 16, 4000


def uneven():
    return 0.05 * 10 ** torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 1), dtype=torch.float64)


def scene():
    return 0.2 + 0.6 * torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 2), dtype=torch.float64)


def f(m):
    """Bends, and couples neighbours."""
    return 0.5 + torch.tanh(1.5 * (m.y - 0.5) - 0.3 * (m.y.roll(1, -1) - 0.5)) / 2


def off(loss, noise, told=None, seed=5):
    """The mean of D in standard errors."""
    x = scene().expand(REPEATS, -1, -1, -1)
    y = noise.sample(x, make_generator("cpu", seed))
    m = Measurement(y, Identity(), told or noise)
    seen = Recorder(f)
    found = loss(seen, m, make_generator("cpu", seed + 1))
    first = seen.first
    d = found - first.mean_square(f(first) - x)
    return float(d.mean() / (d.std() / REPEATS**0.5))


LOSSES = {"stein": lambda: Stein(step=0.02), "recorruption": lambda: Recorruption(LogUniform(1.2, 3.0))}
NOISES = {
    "gaussian": lambda: Gaussian(uneven()),
    "poisson-gaussian": lambda: PoissonGaussian(torch.tensor(0.002, dtype=torch.float64), uneven(), torch.tensor(0.1)),
}


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("name", LOSSES)
def test_unbiased_by_pixel(name, kind):
    noise = NOISES[kind]()
    assert abs(off(LOSSES[name](), noise)) < 4


def test_one_level_for_all_pixels_must_fail():
    """Where the derivative is large where the noise is, one level of the same mean square is not the same."""
    noise = NOISES["gaussian"]()
    assert abs(off(LOSSES["stein"](), noise, told=Gaussian(noise.sigma.square().mean().sqrt()))) > 8
