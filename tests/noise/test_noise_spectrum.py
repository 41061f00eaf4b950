"""The spectrum of noise in photographs: level, kernel, rows and columns, where noise of each kind was added."""

import pytest
import torch
from test_choose import NAMES, camera, photographs
from torch.nn.functional import avg_pool2d

from unveil.checks import noise_fit
from unveil.noise import Correlated, choose_noise
from unveil.noise.estimate import dct, fit_line
from unveil.noise.estimate.blocks import HIGH, MID
from unveil.noise.estimate.growth import coloured_curve
from unveil.noise.estimate.spectrum import find_spectrum
from unveil.noise.estimate.transfer import blocks_of
from unveil.noise.estimate.whiteness import noise_tilt
from unveil.noise.kernel import autocovariance
from unveil.random import make_generator

LAGS = 3


def gaussian(std):
    x = torch.arange(-6, 7, dtype=torch.float64)
    line = torch.exp(-(x**2) / (2 * std**2))
    return torch.outer(line, line)


KINDS = {
    "hardly": {"kernel": torch.tensor([[0.05, 0.2, 0.05], [0.2, 1, 0.2], [0.05, 0.2, 0.05]], dtype=torch.float64)},
    "blur .7": {"kernel": gaussian(0.7)},
    "blur 1.5": {"kernel": gaussian(1.5)},
    "interpolated": {"kernel": torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64)},
    "across": {"kernel": gaussian(1.0)[6:7]},
    "stripes": {"rows": 0.5},
    "blur and stripes": {"kernel": gaussian(0.7), "columns": 0.3},
}


def noisy(kind, sigma=0.1):
    noise = Correlated(torch.tensor(sigma, dtype=torch.float64), **KINDS[kind])
    return [noise.sample(x[None], make_generator("cpu", 31, i))[0] for i, x in enumerate(photographs())]


def lags(kernel):
    """The autocovariance (7, 7) up to LAGS."""
    wide = torch.zeros(2 * LAGS + 33, 2 * LAGS + 33, dtype=torch.float64)
    kernel = torch.ones(1, 1) if kernel is None else kernel
    wide[: kernel.shape[0], : kernel.shape[1]] = kernel / kernel.square().sum().sqrt()
    r, middle = autocovariance(wide), wide.shape[0] - 1
    return r[middle - LAGS : middle + LAGS + 1, middle - LAGS : middle + LAGS + 1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_photographs(kind):
    """The level within 12%, correlations within .15, what rows and columns share within .12; and it fits."""
    images = noisy(kind)
    found = choose_noise(images)
    assert (found.kind, found.doubt) == ("correlated", None)
    assert found.parameters["sigma"] == pytest.approx(0.1, rel=0.12)
    assert abs(found.parameters["sigma"] - 0.1) < 2 * found.errors["sigma"]
    assert (lags(found.shape["kernel"]) - lags(KINDS[kind].get("kernel"))).abs().max() < 0.15
    for name in ("rows", "columns"):
        assert found.shape[name] == pytest.approx(KINDS[kind].get(name, 0.0), abs=0.12)
    assert noise_fit(images, found.noise).verdict == "fits"
    wrong = Correlated(found.parameters["sigma"], KINDS["blur .7" if kind != "blur .7" else "stripes"].get("kernel"))
    assert noise_fit(images, wrong).verdict == "does not fit"


def test_the_tilt_of_white_noise_is_none_and_of_noise_blurred_by_little_its_own():
    """The variance in MID over that in HIGH: as the kernel says, and nothing in white noise; structure or not."""
    hardly = Correlated(0.1, **KINDS["hardly"])
    basis = torch.einsum("ui,vj->uvij", dct(8), dct(8)).reshape(64, 64)
    power = ((basis @ hardly.correlation(8, 8)) * basis).sum(1)
    true = float((power[MID].mean() / power[HIGH].mean()).log())
    for sigma in (0.02, 0.1):
        tilt = noise_tilt(blocks_of(noisy("hardly", sigma)))
        assert not tilt.white
        assert abs(tilt.value - true) < 3 * tilt.error + 0.03
        white = [
            x + sigma * torch.randn(x.shape, generator=make_generator("cpu", 36, i))
            for i, x in enumerate(photographs())
        ]
        assert noise_tilt(blocks_of(white)).white
    sharp = Correlated(1.0, torch.tensor([[0, -0.1, 0], [-0.1, 1, -0.1], [0, -0.1, 0]]))
    tilt = noise_tilt(blocks_of([sharp.draw(torch.zeros(1, 1, 256, 256), make_generator("cpu", 38))[0]]))
    assert tilt.value < -0.2
    assert not tilt.white
    assert noise_tilt(blocks_of([torch.zeros(1, 64, 64)])) is None


def test_of_white_noise_nothing_is_shared():
    white = Correlated(0.05)
    images = [white.sample(x[None].float(), make_generator("cpu", 32, i))[0] for i, x in enumerate(photographs())]
    found = find_spectrum(images)
    assert found.sigma == pytest.approx(0.05, rel=0.12)
    assert (lags(found.kernel) - lags(None)).abs().max() < 0.15
    assert found.rows == found.columns == 0
    assert choose_noise(images).kind == "gaussian"


def test_noise_that_is_not_white_and_grows_with_brightness_fits_no_family():
    hardly = KINDS["hardly"]["kernel"]
    noise = Correlated(torch.tensor(1.0, dtype=torch.float64), hardly)
    grows = [
        x + (x / 20).sqrt() * noise.draw(x[None], make_generator("cpu", 37, i))[0] for i, x in enumerate(photographs())
    ]
    assert "not white" in choose_noise(grows).doubt
    found = choose_noise([avg_pool2d(y, 2, 1) for y in camera(2, 2, 100)])
    assert "not white" in found.doubt
    assert str(found).startswith("no family fits")


@pytest.mark.parametrize("grows", [False, True])
def test_whether_correlated_noise_grows_is_seen_in_coefficients_made_white(grows):
    noise, images = Correlated(torch.tensor(0.1, dtype=torch.float64), gaussian(0.7)), []
    for i, x in enumerate(photographs()):
        n = noise.draw(x[None], make_generator("cpu", 35, i))[0]
        images.append(x + 0.1 * n * ((2 * x).sqrt() if grows else 1))
    line = fit_line(coloured_curve(images, noise.correlation(8, 8)))
    assert (line is not None and line.grows) == grows
    if grows:
        assert line.gain == pytest.approx(0.02, rel=0.25)


def test_other_units():
    images = noisy("blur and stripes")
    found, other = choose_noise(images), choose_noise([300 * y + 40 for y in images], zero=40.0)
    assert other.parameters["sigma"] == pytest.approx(300 * found.parameters["sigma"], rel=1e-6)
    assert other.parameters == pytest.approx(found.scaled(300).parameters)
    torch.testing.assert_close(other.shape["kernel"], found.shape["kernel"], atol=1e-6, rtol=0)
    assert "columns share" in str(found)


def test_structure_is_not_taken_for_noise():
    """Photographs without noise, and bricks, whose mortar runs in rows."""
    found = find_spectrum(photographs())
    assert found is None or not found.plausible
    bricks = photographs()[NAMES.index("brick")]
    white = bricks + 0.02 * torch.randn(bricks.shape, generator=make_generator("cpu", 34), dtype=torch.float64)
    assert choose_noise([white]).kind == "gaussian"


def test_small_images_tell_no_spectrum():
    assert find_spectrum([torch.rand(1, 30, 30)]) is None
    assert find_spectrum([torch.rand(1, 16, 400)]) is None
