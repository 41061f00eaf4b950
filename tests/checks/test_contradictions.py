"""What images contradict: silent on photographs in white Gaussian noise, and one line for each thing that is
otherwise."""

import functools

import numpy as np
import pytest
import skimage.data
import torch
from torch.nn.functional import avg_pool2d

from unveil.checks import constant_images, contradictions, mixed_types, noise_fit, outliers
from unveil.checks.brightness import noise_growth
from unveil.checks.look import look
from unveil.data import open_images
from unveil.noise import Correlated, Gamma, Gaussian, Poisson, choose_noise
from unveil.noise.estimate.blocks import HIGH, MID, coefficients, median_variance
from unveil.noise.estimate.channels import dependent_channels
from unveil.random import make_generator, normal

NAMES = ("camera", "coins", "moon", "grass")


@functools.cache
def photographs(colour: bool = False) -> dict[str, torch.Tensor]:
    """Photographs (C, 128, 128) in [0, 1], reduced twofold."""
    names = ("astronaut", "chelsea") if colour else NAMES
    images = {}
    for name in names:
        x = torch.tensor(getattr(skimage.data, name)()[:256, :256], dtype=torch.float32) / 255
        images[name] = avg_pool2d(x.movedim(-1, 0) if x.ndim == 3 else x[None], 2)
    return images


def noisy(sigma, seed=0, colour=False):
    """The photographs in white Gaussian noise of level sigma, or of one level an image."""
    levels = [sigma] * 4 if isinstance(sigma, float) else sigma
    items = photographs(colour).items()
    return {
        name: x + s * normal(x, make_generator("cpu", seed, i)) for i, ((name, x), s) in enumerate(zip(items, levels))
    }


def counts(peak, seed=0, gain=1.0, offset=0.0, read=0.0):
    """Of a camera, on a scale of 1 / 4095."""
    r = np.random.default_rng(seed)
    electrons = {name: r.poisson(peak * x.double().numpy()) for name, x in photographs().items()}
    return {
        name: torch.from_numpy((gain * (n + read * r.standard_normal(n.shape)) + offset).round() / 4095).float()
        for name, n in electrons.items()
    }


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("eight_bits", [False, True])
def test_photographs_in_white_noise_contradict_nothing(sigma, colour, eight_bits):
    images = noisy(sigma, 1, colour)
    if eight_bits:
        images = {name: (255 * y.clamp(0, 1)).round() / 255 for name, y in images.items()}
    assert contradictions(images, Gaussian(sigma)) == []


@pytest.mark.parametrize(
    "images",
    [counts(2), counts(20), counts(200), counts(1000), counts(300, gain=2, offset=100, read=2)],
    ids=["2", "20", "200", "1000", "camera"],
)
def test_counts_have_noise_that_grows_with_brightness(images):
    (line,) = [line for line in contradictions(images) if "brightness" in line]
    assert "counted photons" in line


def test_the_levels_are_those_of_the_counts():
    growth = noise_growth(list(counts(500).values()))
    for m, level in ((growth.dark, growth.level_dark), (growth.bright, growth.level_bright)):
        assert level == pytest.approx((m * 4095) ** 0.5 / 4095, rel=0.15)


@pytest.mark.parametrize("peak", [20, 200])
def test_counts_of_a_gain(peak):
    """What was counted contradicts nothing; another gain, an offset taken off twice and read noise are told."""
    gain = 1 / 4095
    assert contradictions(counts(peak), Poisson(gain)) == []
    (line,) = contradictions({name: 4 * y for name, y in counts(peak).items()}, Poisson(gain))
    assert "photons of this noise.gain would have" in line
    (line, *_) = contradictions(counts(peak, offset=-peak // 2), Poisson(gain))
    assert "of the values are negative" in line
    (line, *_) = contradictions({name: y + 0.4 * gain for name, y in counts(peak).items()}, Poisson(gain))
    assert "no whole number of photons" in line


def test_noise_of_different_levels():
    (line,) = contradictions(noisy([0.05, 0.05, 0.2, 0.05]))
    assert "levels differ" in line
    assert "0.2 in moon" in line
    x = photographs()["camera"]
    level = torch.tensor([0.05, 0.15]).reshape(2, 1, 1)
    (line,) = contradictions({"y": x + level * normal(x.expand(2, -1, -1), make_generator("cpu", 3))})
    assert "channels' noise levels differ (0.05" in line


def test_a_level_that_is_not_the_stated_one():
    images = noisy(0.1)
    assert contradictions(images, Gaussian(0.12)) == []
    (line,) = contradictions(images, Gaussian(0.3))
    assert "0.3 is what is stated" in line
    assert float(line.split("in the images is ")[1].split(",")[0]) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("nearly", [0, 1])
def test_grey_saved_as_rgb(nearly):
    """Exactly, and with values that rounding changed by one."""
    y = (255 * noisy(0.1)["camera"].clamp(0, 1)).round().expand(3, -1, -1)
    y = y + torch.randint(-nearly, nearly + 1, y.shape, generator=make_generator("cpu", 1))
    pair = dependent_channels([y / 255])
    assert pair.copies
    assert pair.correlation > 0.99
    assert "copies" in contradictions({"y": y / 255})[0]


def test_colours_that_share_their_noise_are_no_copies():
    x = photographs(True)["astronaut"]
    pair = dependent_channels([x + 0.1 * normal(x[:1], make_generator("cpu", 1))])
    assert pair.correlation > 0.95
    assert not pair.copies
    assert dependent_channels(noisy(0.05, colour=True).values()) is None
    assert dependent_channels(noisy(0.05).values()) is None  # one channel


CROSSTALK = {
    "thirds": torch.tensor([[1.0, 0.3, 0.15], [0.3, 1.0, 0.3], [0.15, 0.3, 1.0]]),
    "uneven": torch.tensor([[1.0, -0.3, 0.0], [-0.3, 1.5, 0.3], [0.0, 0.3, 0.5]]),
}


def crosstalk(covariance, sigma, images):
    noise = Correlated(sigma, covariance=CROSSTALK[covariance])
    return {name: noise.sample(x[None], make_generator("cpu", 8, i))[0] for i, (name, x) in enumerate(images.items())}


@pytest.mark.parametrize(("covariance", "sigma"), [("thirds", 0.03), ("uneven", 0.1)])
def test_channels_that_share_a_third_of_their_noise(covariance, sigma):
    """Their covariance is found; what is stated is contradicted where it is another one, and not where it is this."""
    images = crosstalk(covariance, sigma, photographs(True))
    assert any("noise of channels" in line for line in contradictions(images, Gaussian(sigma)))
    found = choose_noise(list(images.values()))
    assert (found.kind, found.doubt) == ("correlated", None)
    assert found.parameters["sigma"] == pytest.approx(sigma, rel=0.05)
    assert abs(found.parameters["sigma"] - sigma) < 2.5 * found.errors["sigma"] < 0.2 * sigma
    true = Correlated(sigma, covariance=CROSSTALK[covariance])
    assert (found.shape["covariance"] - true.covariance).abs().max() < 0.12
    assert contradictions(images, found.noise) == contradictions(images, true) == []
    assert noise_fit(list(images.values()), found.noise).verdict == "fits"
    other = Correlated(sigma, covariance=true.covariance.diag().diag())
    (line,) = contradictions(images, other)
    assert "correlates by" in line


def test_counts_that_channels_share_fit_no_family():
    e = normal(torch.empty(4, 200, 200), make_generator("cpu", 9))
    u = torch.linspace(0.1, 1, 200).expand(3, 200, 200)
    y = u + (u / 20).sqrt() * (0.7**0.5 * e[:3] + 0.3**0.5 * e[3])
    found = choose_noise([y])
    assert "channels" in found.doubt
    assert float(found.doubt.split()[-1]) == pytest.approx(0.3, abs=0.05)
    # of one brightness and structure in all of them the noise is told apart
    assert dependent_channels([u + (u / 20).sqrt() * e[:3]]) is None


def test_noise_that_was_blurred():
    images = {name: avg_pool2d(y, 2, 1) for name, y in noisy(0.1).items()}
    assert any("not white" in line for line in contradictions(images))


def test_hot_pixels_are_found_and_nothing_else():
    y = noisy(0.1)["camera"]
    hot = torch.rand(y.shape, generator=make_generator("cpu", 5)) < 0.002
    assert torch.equal(outliers(torch.where(hot, 8.0, y)), hot)
    assert not outliers(y).any()
    assert any("hot pixels" in line for line in contradictions({"y": torch.where(hot, 8.0, y)}))


@pytest.mark.parametrize("levels", [15, 31, 63])
def test_few_grey_levels(levels):
    """Noise of a third of a step is rounded away; that of two steps is not."""
    for sigma, said in ((0.3, True), (2.0, False)):
        y = (levels * noisy(sigma / levels)["moon"]).round() / levels
        assert any("rounding" in line for line in contradictions({"y": y})) == said


def test_constant_images_are_named():
    images = {"a": torch.full((1, 20, 20), 0.3), "b": torch.rand(1, 20, 20)}
    assert constant_images(images) == ["a"]
    assert contradictions({"a": images["a"]}) == []


def test_types_of_one_folder(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 20), "u1"))
    np.save(tmp_path / "b.npy", np.zeros((20, 20), ">u1"))
    assert mixed_types(open_images(tmp_path)) is None
    np.save(tmp_path / "c.npy", np.zeros((20, 20), ">u2"))
    assert "uint8 (a) and uint16 (c)" in mixed_types(open_images(tmp_path))
    assert "uint16 (c)" in mixed_types(open_images(tmp_path).subset([2, 0]))


def test_windows_are_spread_over_all_images(tmp_path):
    np.save(tmp_path / "y.npy", np.zeros((100, 20, 600), "u1"))
    images = look(open_images(tmp_path))
    assert list(images)[:2] == ["y_0000", "y_0004"]
    assert len(images) == 25
    assert images["y_0000"].shape == (1, 20, 512)


def test_white_noise_is_alike_in_all_frequencies():
    y = 5 + 0.3 * normal(torch.empty(2, 256, 256), make_generator("cpu", 7))
    z = coefficients(y)
    assert z.shape == (64, 2, 1024)
    torch.testing.assert_close(z[0, 0, 0], 8 * y[0, :8, :8].double().mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(z.square().sum(0)[0, 0], y[0, :8, :8].double().square().sum(), rtol=1e-6, atol=0)
    for band in (MID, HIGH):
        assert median_variance(z[band].flatten(1).square()) == pytest.approx(0.09, rel=0.05)


@pytest.mark.parametrize("looks", [1.0, 8.0])
def test_speckle_has_outliers_of_its_own(looks):
    """Its brightest values are no hot pixels; of many looks, hot pixels are seen as ever."""
    noise = Gamma(looks)
    y = {
        name: noise.sample(0.05 + x[None].float().clamp(0, 1), make_generator("cpu", 3, i))[0]
        for i, (name, x) in enumerate(photographs().items())
    }
    assert contradictions(y, noise) == []
    if looks > 1:
        for image in y.values():
            image[:, ::40, ::40] = 30.0
        assert any("outliers" in line for line in contradictions(y, noise))
