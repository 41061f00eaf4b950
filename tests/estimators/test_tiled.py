"""Tiles: the same result at bounded memory, of operators that have windows; others go through whole."""

import pytest
import torch

from unveil.estimators import Tiled
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, blur, gaussian_kernel
from unveil.random import make_generator


class Seen(torch.nn.Module):
    """f(m) = y, that keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.measurements = []

    def forward(self, m):
        self.measurements.append(m)
        return m.y


def measure(height, width, operator=None, noise=None, batch=1):
    y = torch.rand(batch, 1, height, width, generator=make_generator("cpu", 0))
    return Measurement(y, operator or Identity(), noise or Gaussian(0.1))


@pytest.mark.parametrize(("height", "width", "tiles"), [(12, 12, 1), (13, 8, 2), (8, 20, 3), (24, 17, 9)])
def test_tiles_are_counted_as_they_are_done(height, width, tiles):
    f, done, m = Tiled(Seen(), tile=8, margin=2), [], measure(height, width)
    f.progress = done.append
    assert torch.equal(f(m), m.y)
    assert f.tiles(m.operator, height, width) == tiles
    assert done == ([] if tiles == 1 else list(range(1, tiles + 1)))
    for part in f.f.measurements:
        assert max(part.y.shape[-2:]) <= 8 + 2 * 2


@pytest.mark.parametrize("noise", [Gaussian(torch.tensor([0.1, 0.2])), Poisson(torch.tensor([0.1, 0.2]))])
def test_a_tile_has_the_noise_of_its_image(noise):
    f, m = Tiled(Seen(), tile=8, margin=2), measure(24, 17, noise=noise, batch=2)
    f(m)
    assert len(f.f.measurements) == 9
    assert all(part.noise is noise for part in f.f.measurements)
    top_left, top_middle = f.f.measurements[0], f.f.measurements[1]
    assert torch.equal(top_left.y, m.y[..., :10, :10])
    assert torch.equal(top_middle.y, m.y[..., :10, 6:17])


def test_an_operator_without_windows_goes_whole():
    """A blur's measurement of a window is not that of the window alone."""
    m = measure(40, 40, blur(gaussian_kernel(1.0), 40, 40))
    f = Tiled(Seen(), tile=8, margin=2)
    f.progress = lambda done: pytest.fail("there are no tiles")
    assert f.tiles(m.operator, 40, 40) == 1
    assert torch.equal(f(m), m.y)
    (whole,) = f.f.measurements
    assert whole is m


@pytest.mark.parametrize(("tile", "margin"), [(0, 2), (8, -1)])
def test_what_is_no_tile(tile, margin):
    with pytest.raises(ValueError, match=f"tile is {tile} and margin {margin}: need"):
        Tiled(Seen(), tile, margin)
