"""What an estimator is given: other precisions work, what is no tensor of numbers is one line, tiles are counted."""

import numpy as np
import pytest
import torch

from unveil.errors import UnveilError
from unveil.estimators import ESTIMATORS, Tiled
from unveil.random import make_generator, normal


@pytest.fixture(params=sorted(ESTIMATORS))
def f(request):
    torch.manual_seed(0)
    f = ESTIMATORS[request.param](1, (4, 4), 1)
    for parameter in f.parameters():  # the last layer begins at zero
        torch.nn.init.normal_(parameter, std=0.1)
    return f


def test_double_precision_gives_the_same(f):
    y = normal(torch.empty(2, 1, 12, 12), make_generator("cpu", 0))
    estimate = f(y.double(), 0.1)
    assert estimate.dtype == torch.float64
    torch.testing.assert_close(estimate.float(), f(y, 0.1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tiled", [False, True])
def test_what_is_no_tensor_of_floating_point_is_refused(f, tiled):
    f = Tiled(f, tile=8, margin=2) if tiled else f
    with pytest.raises(UnveilError, match=r"y is a numpy.ndarray: pass a tensor"):
        f(np.zeros((1, 1, 20, 20), np.float32), 0.1)
    with pytest.raises(UnveilError, match=r"y is a tensor of torch.uint8"):
        f(torch.zeros(1, 1, 20, 20, dtype=torch.uint8), 0.1)


@pytest.mark.parametrize(("height", "width", "tiles"), [(12, 12, 1), (13, 8, 2), (8, 20, 3), (24, 17, 9)])
def test_tiles_are_counted_as_they_are_done(height, width, tiles):
    f, seen = Tiled(torch.nn.Identity(), tile=8, margin=2), []
    f.f.forward = lambda y, sigma: y
    f.progress = seen.append
    y = torch.rand(1, 1, height, width)
    assert torch.equal(f(y, 0.1), y)
    assert f.tiles(height, width) == tiles
    assert seen == ([] if tiles == 1 else list(range(1, tiles + 1)))
