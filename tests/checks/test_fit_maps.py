"""Does noise that differs from pixel to pixel fit photographs? The right maps do, wrong ones and numbers do not."""

import pytest
import torch

from noisy import measured
from unveil.checks.fit import noise_fit
from unveil.noise import Gaussian, PoissonGaussian
from unveil.random import make_generator, normal

SIDE = 128


def uneven():
    """Log-normal factors, of which one in a hundred is 20 times as large."""
    generator = make_generator("cpu", 1)
    like = torch.zeros(1, 1, SIDE, SIDE)
    hot = torch.rand(like.shape, generator=generator) < 0.01
    return (0.5 * normal(like, generator)).exp() * torch.where(hot, 20.0, 1.0)


NOISES = {
    "gaussian": lambda factor: Gaussian(0.04 * factor * uneven()),
    "poisson-gaussian": lambda factor: PoissonGaussian(0.01 * factor**2, 0.03 * factor * uneven(), -0.1),
}


@pytest.mark.parametrize("kind", NOISES)
def test_the_right_maps_fit_and_wrong_ones_do_not(kind):
    make = NOISES[kind]
    right = make(1.0)
    for seed in range(3):
        y = measured(right, seed)
        fit = noise_fit(y, right)
        assert (fit.verdict, fit.reason) == ("fits", "")
        level, error = fit.figures["level"]
        assert abs(level - 1) < max(4 * error, 0.1)
    for factor in (0.8, 1.25):
        assert "stated" in noise_fit(y, make(factor)).reason
    assert noise_fit(y, right.middle).verdict == "does not fit", "no number says that pixels are hot"
    gaps = [x.masked_fill(torch.rand(x.shape, generator=make_generator("cpu", 4)) < 5e-4, torch.nan) for x in y]
    assert noise_fit(gaps, right).verdict == "fits"
