"""An error below what the noise's variance is known to is not told; the others are."""

import math

import pytest
import torch

from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.evaluation.evaluate import Evaluation, Metrics
from unveil.evaluation.resolution import Unresolved, variance_errors
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator


def images(sigma, count=4, side=128):
    y = [Gaussian(sigma).sample(torch.full((1, 1, side, side), 0.5), make_generator("cpu", i))[0] for i in range(count)]
    return MemorySource({str(i): one for i, one in enumerate(y)})


@pytest.mark.parametrize(("wrong", "off"), [(1.0, 0.0), (1.05, 1 - 1.05**-2), (0.9, 0.9**-2 - 1)])
def test_how_far_the_variance_is_off(wrong, off):
    """Of noise that was found wrong by so much; of right noise it is the error of the quiet blocks' energy."""
    stated = 0.1 * wrong
    together = variance_errors(Dataset(images(0.1), Identity(), Gaussian(stated)), each=False)
    assert len(set(together)) == 1
    assert together[0] / stated**2 == pytest.approx(off, abs=0.07)
    each = variance_errors(Dataset(images(0.1), Identity(), Gaussian(torch.full((4,), stated))), each=True)
    assert len(set(each)) == 4
    assert sum(each) / 4 / stated**2 == pytest.approx(off, abs=0.13)
    if off == 0:
        assert together[0] < sum(each) / 4, "four images tell more than one"


def test_it_is_of_the_mean_variance_of_each_image():
    source = MemorySource({"dark": torch.full((1, 64, 64), 0.1), "bright": torch.full((1, 64, 64), 0.8)})
    dark, bright = variance_errors(Dataset(source, Identity(), Poisson(0.01)), each=False)
    assert bright / dark == pytest.approx(8, rel=0.01)


def result(name, error):
    return Evaluation(Metrics(name, -10 * math.log10(error), 1.0), *[torch.zeros(1, 2, 2)] * 2, None, None)


def test_only_what_is_resolved_is_shown():
    unresolved = Unresolved([1e-4, 1e-4, 1e-4])
    found = [*unresolved([result("a", 1e-3), result("b", 1.5e-4), result("c", 2.5e-4)])]
    assert [math.isnan(one.metrics.psnr_estimate) for one in found] == [False, True, False]
    assert [one.metrics.spread_over_error for one in found] == [1.0, None, 1.0]
    assert "of 1 of 3 images (b) the error cannot be told" in unresolved.line()
    assert f"above {-10 * math.log10(3.5e-4):.1f} dB" in unresolved.line()
    stated = Unresolved([0.0, 0.0])
    assert [one.metrics.psnr_estimate for one in stated([result("a", 1e-9), result("b", 1.0)])] == [90.0, 0.0]
    assert stated.line() is None


def test_an_error_that_is_not_positive_is_not_resolved_either():
    unresolved = Unresolved([1e-4])
    metrics = Metrics("a", math.nan)
    [*unresolved([Evaluation(metrics, *[torch.zeros(1, 2, 2)] * 2, None, None)])]
    assert f"above {-10 * math.log10(2e-4):.1f} dB" in unresolved.line()
