"""The check of scale: its energies are unbiased, it warns where it should, and says when it cannot tell.

Photographs and pages are those of scikit-image. Nothing is claimed here that the module's docstring does not claim.
"""

import functools
import math

import pytest
import skimage.data
import torch
from torch.nn.functional import avg_pool2d, interpolate

from unveil.checks import scale, scale_invariance
from unveil.errors import UnveilError
from unveil.noise import estimate_common_sigma
from unveil.random import make_generator, normal

PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "immunohistochemistry")
PAGES = ("page", "text")


@functools.cache
def picture(name: str) -> torch.Tensor:
    """x (C, H, W) in [0, 1]."""
    x = torch.tensor(getattr(skimage.data, name)(), dtype=torch.float32) / 255
    return x.movedim(-1, 0) if x.ndim == 3 else x[None]


@functools.cache
def discs(radius: float, side: int = 256, seed: int = 0) -> torch.Tensor:
    """Synthetic cells of one size: overlapping discs on a darker ground, a quarter of it covered at most."""
    rows = torch.arange(side, dtype=torch.float32)[:, None]
    x = torch.full((side, side), 0.2)
    centres = side * torch.rand(int(side**2 / (4 * math.pi * radius**2)), 2, generator=make_generator("cpu", seed))
    for row, column in centres.tolist():
        x = x.maximum(0.2 + 0.5 * (radius + 0.5 - ((rows - row) ** 2 + (rows.T - column) ** 2).sqrt()).clamp(0, 1))
    return x[None]


def power_law(eta: float, count: int, side: int = 256, key: int = 0) -> list[torch.Tensor]:
    """Gaussian images of power spectrum f^-(2 + eta), seen by sensor pixels: block means of finer images."""
    fine = 2 * side
    f = torch.fft.fftfreq(fine).square()
    filter_ = (f[:, None] + f[None]).clamp_min(1 / fine**2) ** (-(2 + eta) / 4)
    white = normal(torch.empty(count, 1, fine, fine), make_generator("cpu", 11, key))
    x = avg_pool2d(torch.fft.ifft2(torch.fft.fft2(white) * filter_).real, 2)
    return list(0.2 * x / x.std())


def measured(images, sigma, key=1):
    return [x + sigma * normal(x, make_generator("cpu", key, i)) for i, x in enumerate(images)]


@pytest.mark.parametrize("k", range(6))
def test_the_energy_of_details_is_that_of_the_clean_image(k):
    """Over many draws of the noise, in standard errors; and it is the definition's."""
    x, sigma, size = picture("camera")[0, 100:164, 100:164].double(), 0.2, 2**k
    clean = avg_pool2d(x[None, None], size)
    coarse = interpolate(avg_pool2d(clean, 2), scale_factor=2)
    expected = (clean - coarse).square().mean()
    tiles = torch.stack(measured([x] * 400, sigma))
    d = scale._energies(tiles)
    d = (d - sigma**2 * scale._noise_share(d))[:, k]
    assert abs(d.mean() - expected) < 4 * d.std() / len(d) ** 0.5
    torch.testing.assert_close(scale._energies(x[None])[0, k], expected)


def test_the_energy_with_the_noise_left_in_is_rejected():
    x = picture("camera")[0, 100:164, 100:164].double()
    d = scale._energies(torch.stack(measured([x] * 400, 0.2)))[:, 0]
    assert abs(d.mean() - scale._energies(x[None])[0, 0]) > 40 * d.std() / len(d) ** 0.5


@pytest.mark.parametrize("eta", [-0.8, 0.0, 0.6])
def test_slopes_are_those_of_power_laws(eta):
    """Every eta_k within its error and 0.1, for the finest pixels do not quite alias like coarser ones."""
    images = power_law(eta, 12)
    groups = [scale._energies(scale._tiles(x[0].double(), 64)) for x in images]
    slopes, errors, counts = scale._slopes(groups, 0.0)
    assert counts.all()
    assert ((slopes - eta).abs() < 0.1 + 4 * errors).all(), slopes
    assert (errors < 0.15).all()


def test_errors_of_the_jackknife_are_the_scatter_of_repetitions():
    rows = []
    for key in range(24):
        groups = [scale._energies(scale._tiles(x[0].double(), 64)) for x in power_law(0.0, 8, side=128, key=key)]
        rows.append(torch.stack(scale._slopes(groups, 0.0)[:2]))
    slopes, errors = torch.stack(rows, 1)
    ratio = errors.square().mean(0).sqrt() / slopes.std(0)
    assert ((ratio > 0.6) & (ratio < 1.7)).all(), ratio


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_no_warning_on_photographs(name, sigma):
    y = measured([picture(name)], sigma)
    for level in (sigma, estimate_common_sigma(y)):
        check = scale_invariance(y, level)
        assert check.verdict == "alike", check
        assert check.figure >= check.threshold


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("name", [*PAGES, "grass", "gravel", 3.0, 6.0])
def test_warning_on_text_textures_and_discs_of_one_radius(name, sigma):
    y = measured([discs(name) if isinstance(name, float) else picture(name)], sigma)
    for level in (sigma, estimate_common_sigma(y)):
        check = scale_invariance(y, level)
        assert check.verdict == "own scale", check
        assert check.figure < check.threshold


def test_larger_tiles_see_larger_discs():
    """Discs 24 pixels across: beyond tiles of 64 pixels, and seen by tiles of 128 where there are 16 of these."""
    assert scale_invariance(measured([discs(12.0)], 0.1), 0.1).verdict == "alike"
    assert scale_invariance(measured([discs(12.0, seed=i) for i in range(4)], 0.1), 0.1).verdict == "own scale"


def test_one_photograph_among_pages_does_not_hide_them_and_one_page_among_photographs_does_not_warn():
    pages = [picture("page")[:, :128, i : i + 128] for i in (0, 128, 256)] + [picture("text")[:, :, 100:260]]
    photographs = [picture(name)[:1] for name in PHOTOGRAPHS]
    assert (
        scale_invariance(measured([*pages, *pages, picture("camera")[:, :128, :128]], 0.1), 0.1).verdict == "own scale"
    )
    assert scale_invariance(measured([*photographs, pages[0]], 0.1), 0.1).verdict == "alike"


def test_units_offsets_and_turns_do_not_matter():
    y = measured([picture("page")], 0.1)
    figure = scale_invariance(y, 0.1).figure
    assert scale_invariance([1000 + 400 * y[0]], 40.0).figure == pytest.approx(figure, rel=1e-3)
    y = [picture("camera")[:, :256, :256]]
    turned = scale_invariance([y[0].mT.flip(-1)], 0.1).figure
    assert turned == pytest.approx(scale_invariance(y, 0.1).figure, rel=1e-3)


def test_the_mean_over_channels_has_its_own_noise():
    """Three channels of one grey image, at a noise that would be missed threefold."""
    x = picture("page").expand(3, -1, -1)
    y = measured([x], 0.3)
    grey = y[0].mean(0, keepdim=True)
    assert scale_invariance(y, 0.3).figure == pytest.approx(scale_invariance([grey], 0.3 / 3**0.5).figure, rel=1e-3)


def test_it_cannot_tell_from_few_or_small_images_or_from_noise():
    small = [picture("page")[:, i : i + 28, j : j + 28] for i in range(0, 140, 28) for j in range(0, 364, 28)]
    assert scale_invariance(small, 0.1).verdict == "cannot tell"  # digits, garments
    few = scale_invariance([picture("page")[:, :180, :180]], 0.1)
    assert few.verdict == "cannot tell"
    assert "7 tiles" in few.explanation
    assert math.isnan(few.figure)
    assert scale_invariance([], 0.1).verdict == "cannot tell"
    noise = scale_invariance(measured([torch.zeros(1, 128, 128)] * 8, 0.1), 0.1)
    assert noise.verdict == "cannot tell"
    assert "noise" in noise.explanation
    assert scale_invariance([torch.ones(1, 128, 128)] * 8, 0.0).verdict == "cannot tell"


def test_the_explanation_is_one_sentence():
    for images in ([picture("page")], [picture("camera")], []):
        explanation = scale_invariance(images, 0.0).explanation
        assert "\n" not in explanation
        assert ". " not in explanation


def test_images_are_read_once_and_one_at_a_time():
    assert scale_invariance((x for x in [picture("page")]), 0.0).verdict == "own scale"


@pytest.mark.parametrize(
    ("image", "sigma", "message"),
    [
        (torch.zeros(64, 64), 0.1, r"images\[0\].*\(C, H, W\)"),
        (torch.zeros(1, 64, 64, dtype=torch.complex64), 0.1, "complex64"),
        (torch.full((1, 64, 64), math.nan), 0.1, "NaN"),
        (torch.zeros(1, 64, 64), -0.1, "sigma"),
        (torch.zeros(1, 64, 64), math.nan, "sigma"),
    ],
)
def test_it_refuses(image, sigma, message):
    with pytest.raises(UnveilError, match=message):
        scale_invariance([image], sigma)
