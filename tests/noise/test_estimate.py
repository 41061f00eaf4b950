"""sigma from noisy photographs alone: accuracy on the photographs of scikit-image, invariances, limits."""

import functools

import pytest
import skimage.data
import torch

from unveil.errors import UnveilError
from unveil.noise.estimate import estimate_common_sigma, estimate_sigma
from unveil.noise.estimate.likely import likeliest_variance
from unveil.random import make_generator, normal

GREY = ("brick", "camera", "cell", "clock", "coins", "grass", "gravel", "moon")
COLOUR = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")
HARD = ("grass", "gravel", "hubble_deep_field")  # without flat regions, or noisy themselves
SIGMAS = (0.02, 0.05, 0.1, 0.2)


@functools.cache
def photograph(name: str, grey: bool, reduced: bool) -> torch.Tensor:
    x = torch.tensor(getattr(skimage.data, name)()[:448, :448], dtype=torch.float64) / 255
    x = x.movedim(-1, 0) if x.ndim == 3 else x[None]
    if reduced:
        x = torch.nn.functional.avg_pool2d(x, 2)
    x = x[:, :224, :224]
    return x.mean(0, keepdim=True) if grey else x


def noisy(x: torch.Tensor, sigma: float, *key: int) -> torch.Tensor:
    return x + sigma * normal(x, make_generator("cpu", *key))


def folder(grey: bool, reduced: bool) -> dict[str, torch.Tensor]:
    return {name: photograph(name, grey, reduced) for name in (GREY + COLOUR if grey else COLOUR)}


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("grey", [True, False])
def test_common_level_of_photographs_within_5_percent(grey, reduced, sigma, device, dtype):
    images = [noisy(x, sigma, i).to(device, dtype) for i, x in enumerate(folder(grey, reduced).values())]
    assert estimate_common_sigma(images) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("clip", [False, True])
def test_common_level_of_eight_bit_photographs(clip):
    images = [noisy(x, 0.05, i) for i, x in enumerate(folder(True, True).values())]
    images = [(255 * (y.clamp(0, 1) if clip else y)).round() for y in images]
    assert estimate_common_sigma(images) == pytest.approx(255 * 0.05, rel=0.05)


# Relative error per image, bounds set from measurement: more by texture than by chance.
@pytest.mark.parametrize(
    ("sigma", "flat", "hard"), [(0.02, 0.09, 0.6), (0.05, 0.04, 0.15), (0.1, 0.03, 0.08), (0.2, 0.03, 0.04)]
)
@pytest.mark.parametrize("grey", [True, False])
def test_level_of_each_photograph(grey, sigma, flat, hard, device, dtype):
    for i, (name, x) in enumerate(folder(grey, True).items()):
        error = float(estimate_sigma(noisy(x, sigma, i)[None].to(device, dtype))) / sigma - 1
        assert -flat < error < (hard if name in HARD else flat), name


def test_batch_of_different_levels_with_b_equal_to_w(device, dtype):
    sigma = torch.linspace(0.02, 0.2, 24, dtype=torch.float64)
    x = photograph("camera", True, False)[None, :, 20:116, 20:44].expand(24, -1, -1, -1)
    y = (x + sigma.reshape(-1, 1, 1, 1) * normal(x, make_generator("cpu", 1))).to(device, dtype)
    estimate = estimate_sigma(y)
    assert estimate.shape == (24,)
    assert estimate.dtype == dtype
    assert estimate.device.type == device.type
    assert (estimate.cpu() / sigma - 1).abs().max() < 0.2  # 96 x 24 pixels
    alone = torch.cat([estimate_sigma(image[None]) for image in y])
    torch.testing.assert_close(estimate, alone)


@pytest.mark.parametrize(("a", "mu"), [(255.0, 0.0), (-3.0, 0.7), (1e-3, -2e-3), (1e4, 1e4)])
@pytest.mark.parametrize("clip", [False, True])
def test_equivariance_to_amplitude_and_offset(a, mu, clip):
    y = noisy(photograph("chelsea", False, True), 0.1, 2)[None]
    y = y.clamp(0, 1) if clip else y
    torch.testing.assert_close(estimate_sigma(a * y + mu), abs(a) * estimate_sigma(y), rtol=1e-4, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_pure_noise_is_within_its_standard_error(channels, device, dtype):
    like = torch.empty(40, channels, 96, 96, dtype=dtype, device=device)
    ratio = estimate_sigma(5 + 0.3 * normal(like, make_generator(device, 3, channels))).cpu().double() / 0.3
    # The best possible estimate has standard deviation (2 d)^(-1/2), d the numbers measured. Ours uses 43 of
    # 64 coefficients of a quarter of the blocks, or fewer.
    ideal = (2 * channels * 96 * 96) ** -0.5
    assert ratio.std() < 4 * ideal
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / 40**0.5 + 0.002  # the choice of q may bias by 0.2%


def test_blocks_that_all_have_structure_tell_the_level():
    """Drawn as is said of them: each of a strength of its own, none without any. Medians would be 40% too large."""
    down, across = (torch.arange(8) + 0 * torch.arange(8)[:, None] for _ in range(2))
    down, across = down.T.flatten(), across.flatten()
    fine = down + across >= 6
    generator = make_generator("cpu", 9)
    strength = (3 * torch.rand(3000, 1, generator=generator)).exp() - 0.5
    g = ((down**2 + across**2).double().sqrt() / 5)[fine] ** -4
    z = torch.randn(3000, len(g), generator=generator) * 0.1 * (1 + strength * g / g.median()).sqrt()
    found = likeliest_variance(z.square(), down[fine], across[fine])
    assert found == pytest.approx(0.01, rel=0.08)
    assert float(z.square().median()) / 0.455 > 1.4 * 0.01
    assert likeliest_variance(0 * z, down[fine], across[fine]) == 0


def test_pooling_beats_the_mean_of_the_levels():
    images = [noisy(x, 0.02, i) for i, x in enumerate(folder(True, True).values())]
    each = torch.stack([estimate_sigma(y[None])[0] for y in images])
    assert abs(estimate_common_sigma(images) - 0.02) < 0.2 * abs(float(each.mean()) - 0.02)


def test_common_level_reads_an_iterator_once_and_thins_many_images(monkeypatch):
    x = torch.zeros(3, 64, 64)
    monkeypatch.setattr("unveil.noise.estimate.level._POOL", 20_000)
    images = (0.1 * normal(x, make_generator("cpu", i)) for i in range(12))
    assert estimate_common_sigma(images) == pytest.approx(0.1, rel=0.02)


def test_constant_image_is_zero_and_is_passed_over(device, dtype):
    y = torch.full((2, 3, 32, 32), 0.1, device=device, dtype=dtype)
    assert estimate_sigma(y).tolist() == [0, 0]
    assert estimate_common_sigma(y) == 0
    noise = 0.2 * normal(torch.empty(1, 128, 128, device=device, dtype=dtype), make_generator(device, 4))
    assert estimate_common_sigma([*y, noise]) == pytest.approx(float(estimate_sigma(noise[None])))
    alpha = torch.cat([noise, torch.ones_like(noise)])[None]
    torch.testing.assert_close(estimate_sigma(alpha), estimate_sigma(noise[None]))


def test_integers_are_welcome():
    y = (100 + 8 * torch.randn(1, 1, 128, 128, generator=make_generator("cpu", 5))).round().to(torch.uint8)
    assert estimate_sigma(y).dtype == torch.float32
    assert float(estimate_sigma(y)) == pytest.approx((64 + 1 / 12) ** 0.5, rel=0.03)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
@pytest.mark.parametrize("grey", [True, False])
def test_clipped_photographs(grey, sigma):
    images = [noisy(x, sigma, i).clamp(0, 1) for i, x in enumerate(folder(grey, True).values())]
    assert estimate_common_sigma(images) == pytest.approx(sigma, rel=0.05)


def test_half_dark_image_and_padding():
    y = 0.1 * normal(torch.empty(1, 1, 128, 256), make_generator("cpu", 6))
    y[..., 128:] += 0.5
    assert float(estimate_sigma(y.clamp(0, 1))) == pytest.approx(0.1, rel=0.05)
    y[..., 30:-30, :] = 0.25  # an area without noise inside the range
    assert float(estimate_sigma(y)) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(1, 32, 32), "shape"),
        (torch.zeros(0, 1, 32, 32), "shape"),
        (torch.rand(1, 1, 15, 17), "15 x 17"),
        (torch.rand(1, 1, 7, 64), "7 x 64"),
        (torch.rand(1, 1, 32, 32, dtype=torch.complex64), "real"),
        (torch.full((1, 1, 32, 32), float("nan")), "NaN"),
        (torch.full((1, 1, 32, 32), float("inf")), "NaN or infinite"),
        (torch.arange(32.0).div(16).floor().expand(1, 1, 32, 32), "constant regions"),
        ((torch.rand(1, 1, 64, 64, generator=make_generator("cpu", 7)) > 0.5).float(), "clipping"),
    ],
)
def test_errors_are_one_line(y, message):
    with pytest.raises(UnveilError, match=message) as error:
        estimate_sigma(y)
    assert "\n" not in str(error.value)


def test_errors_of_the_common_level():
    with pytest.raises(UnveilError, match="images is empty"):
        estimate_common_sigma([])
    with pytest.raises(UnveilError, match=r"images\[1\] has NaN"):
        estimate_common_sigma([torch.rand(1, 32, 32), torch.full((1, 32, 32), float("nan"))])


def test_correlated_noise_is_underestimated():
    """The limit that the documentation states: the high frequencies are gone, and sigma with them."""
    y = noisy(photograph("astronaut", True, False), 0.1, 8)[None]
    smooth = torch.nn.functional.avg_pool2d(y, 2, 1)  # its standard deviation is sigma / 2
    assert float(estimate_sigma(smooth)) < 0.03


def test_the_image_that_is_too_small_is_named():
    images = [torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)), torch.rand(1, 10, 12)]
    with pytest.raises(UnveilError, match=r"tiny\.tif has 10 x 12 pixels"):
        estimate_common_sigma(images, ["large.tif", "tiny.tif"])
