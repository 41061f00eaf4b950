"""The family and the parameters of noise, found in images: cameras, counts, and what does not identify them."""

import functools

import numpy as np
import pytest
import skimage.data
import torch
from torch.nn.functional import avg_pool2d, pad

from unveil.data.cells import training_cells
from unveil.noise import Gamma, Gaussian, Poisson, PoissonGaussian, choose_noise, estimate_common_sigma
from unveil.noise.estimate import TransferCurve, fit_line, transfer_curve
from unveil.noise.estimate.line import coherent_error

NAMES = ("camera", "coins", "moon", "brick", "cell", "clock")
OFFSET = 100.0


@functools.cache
def photographs(dark=False):
    """Six photographs (1, 192, 192) in [0, 1], reduced twofold, each beside a dark half where that is asked for."""
    images = []
    for name in NAMES:
        x = torch.tensor(getattr(skimage.data, name)()[:384, :384], dtype=torch.float64)[None] / 255
        images.append(pad(avg_pool2d(x, 2), (0, 192 * dark)))
    return images


def camera(gain, read, peak, dark=False, offset=OFFSET):
    r = np.random.default_rng(0)
    photons = [r.poisson(peak * x.numpy()) for x in photographs(dark)]
    return [torch.from_numpy((gain * k + offset + read * r.standard_normal(k.shape)).round()).float() for k in photons]


def counts(peak):
    r = np.random.default_rng(1)
    return [torch.from_numpy(r.poisson(peak * x.numpy()) / peak).float() for x in photographs()]


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2])
def test_one_level(sigma):
    r = np.random.default_rng(2)
    images = [x + sigma * torch.from_numpy(r.standard_normal(x.shape)) for x in photographs()]
    found = choose_noise(images)
    assert found.kind == "gaussian"
    assert isinstance(found.noise, Gaussian)
    assert found.parameters["sigma"] == estimate_common_sigma(images)
    assert abs(found.parameters["sigma"] - sigma) < 2.5 * found.errors["sigma"]
    assert found.errors["sigma"] < 0.06 * sigma
    assert choose_noise(images, level=lambda: 3.0).parameters == {"sigma": 3.0}


@pytest.mark.parametrize("peak", [2, 10, 100, 1000])
def test_counts_have_the_gain_of_their_step(peak):
    found = choose_noise(counts(peak))
    assert found.kind == "poisson"
    assert isinstance(found.noise, Poisson)
    assert found.parameters["gain"] == pytest.approx(1 / peak, rel=1e-4)


def narrow():
    """A photograph of brightness .25 to .5, in which no variance grows twofold."""
    return 0.25 + 0.25 * photographs()[0].numpy()


@pytest.mark.parametrize("peak", [10, 100, 1000])
def test_counts_of_little_contrast_are_told_by_their_step(peak):
    y = np.random.default_rng(3).poisson(peak * narrow()) / peak
    found = choose_noise([torch.from_numpy(y).float()])
    assert found.kind == "poisson"
    assert found.parameters["gain"] == pytest.approx(1 / peak, rel=1e-3)


@pytest.mark.parametrize("steps", [255, 60, 37])
def test_rounded_gaussian_noise_is_no_counts(steps):
    """Of level .1: the variance of counts of 37 at white is that in the middle, but rises; of 255 it is a seventh."""
    y = narrow() + 0.1 * np.random.default_rng(4).standard_normal(narrow().shape)
    found = choose_noise([torch.from_numpy((steps * y).round().clip(0) / steps).float()])
    assert found.kind == "gaussian"


@pytest.mark.parametrize(("gain", "read", "peak"), [(0.5, 1, 100), (2, 2, 20), (2, 2, 300), (5, 5, 100)])
def test_a_camera_with_a_background(gain, read, peak):
    """The gain within 7%, the offset within 1%, the read noise within 15%: the dark shows the last two."""
    found = choose_noise(camera(gain, read, peak, dark=True))
    assert found.kind == "poisson-gaussian"
    assert isinstance(found.noise, PoissonGaussian)
    assert found.assumed == "background"
    assert found.parameters["gain"] == pytest.approx(gain, rel=0.07)
    assert found.parameters["offset"] == pytest.approx(OFFSET, rel=0.01)
    assert found.parameters["read"] == pytest.approx(read, rel=0.15)


@pytest.mark.parametrize(("gain", "read", "peak"), [(0.5, 1, 100), (2, 2, 20), (2, 2, 300), (5, 1, 50), (5, 5, 100)])
def test_what_photographs_without_a_background_leave_open_is_in_the_errors(gain, read, peak):
    found = choose_noise(camera(gain, read, peak))
    for name, true in (("gain", gain), ("read", read), ("offset", OFFSET)):
        assert abs(found.parameters[name] - true) < 2.5 * found.errors[name], (name, found)
    low, high = found.bounds
    assert low - 2.5 * found.line.zero_error < OFFSET < high + 2 * gain
    assert found.errors["gain"] < 0.1 * gain


def test_the_variance_is_identified_whatever_is_assumed():
    """Within 8% of the true one from the darkest to the brightest tenth of the pixels."""
    gain, read, peak = 2.0, 3.0, 200
    found = choose_noise(camera(gain, read, peak))
    u = OFFSET + gain * peak * torch.linspace(0.1, 0.9, 9, dtype=torch.float64)[None]
    true = gain * (u - OFFSET) + read**2
    torch.testing.assert_close(found.noise.variance(u), true, rtol=0.08, atol=0)


def test_other_units():
    """What is found in a y + mu is what is found in y, scaled; 0 in the files is then at mu."""
    images = camera(2, 2, 100)
    a, mu = 0.01, -0.7
    found, other = choose_noise(images), choose_noise([a * y + mu for y in images], zero=mu)
    scaled = found.scaled(a, mu)
    assert other.parameters == pytest.approx(scaled.parameters, rel=1e-3)
    assert other.errors == pytest.approx(scaled.errors, rel=1e-2)
    assert scaled.parameters["offset"] == pytest.approx(a * found.parameters["offset"] + mu)


def test_counts_on_a_range_that_begins_elsewhere_are_not_poisson():
    """Of a range that does not begin at 0 the family has no parameter; a camera's offset says it."""
    found = choose_noise([y - 0.1 for y in counts(100)], zero=-0.1)
    assert found.kind == "poisson-gaussian"
    assert found.parameters["offset"] == pytest.approx(-0.1, abs=0.02)


def test_noise_that_is_not_white_or_is_shared_fits_no_family():
    r = np.random.default_rng(3)
    noisy = [x + 0.1 * torch.from_numpy(r.standard_normal(x.shape)) for x in photographs()]
    assert "not white" in choose_noise([avg_pool2d(y, 2, 1) for y in camera(2, 2, 100)]).doubt
    assert "channels 0 and 1" in choose_noise([y.expand(2, -1, -1) for y in noisy]).doubt
    assert choose_noise(noisy).doubt is None
    assert "no family fits" not in str(choose_noise(noisy))


def test_the_line_of_flat_fields_is_unbiased():
    """Flat images of known photons, without structure: gain and zero within 3 standard errors by chance alone."""
    r = np.random.default_rng(4)
    levels = (5, 20, 40, 80)
    flats = [torch.from_numpy(1.0 * r.poisson(m, (1, 256, 256)) + 2 * r.standard_normal((1, 256, 256))) for m in levels]
    line = fit_line(transfer_curve(flats))
    assert line.gain == pytest.approx(1, abs=0.03)
    assert float(line.variance(torch.tensor(40.0))) == pytest.approx(44, rel=0.02)
    assert line.zero == pytest.approx(-4, abs=2)
    assert fit_line(transfer_curve([torch.zeros(1, 4, 4)])) is None


def test_the_error_of_bins_that_err_together():
    """Exactly what the slope changes by if all bins above the centre are an error too high, and those below too low."""
    m = torch.linspace(1, 5, 9, dtype=torch.float64)
    curve = TransferCurve(m, 2 * m + 1, 0.1 + 0.05 * m)
    line = fit_line(curve, systematic=0)
    moved = fit_line(curve._replace(variance=curve.variance + curve.error * (m - line.centre).sign()), systematic=0)
    assert coherent_error(curve, line, 1) == pytest.approx(moved.gain - line.gain, rel=1e-6)
    assert coherent_error(curve, line, 4) == pytest.approx((moved.gain - line.gain) / 2, rel=1e-6)
    assert coherent_error(curve, line, 1) > 2 * line.gain_error


def test_few_photons_are_not_underestimated():
    """The blocks with least structure are those with least noise by chance; at .3 photons too that costs little."""
    r = np.random.default_rng(5)
    flat = [torch.from_numpy(1.0 * r.poisson(0.3, (1, 512, 512)) + 10) for _ in range(2)]
    curve = transfer_curve(flat)
    w = 1 / curve.error.square()
    assert float((w * curve.variance).sum() / w.sum()) == pytest.approx(0.3, rel=0.12)


def test_texture_is_taken_off_the_noise():
    """Where no block is flat: 300 photons in grass and gravel have 3.4 times their gain without that, and 2.2 with."""
    r = np.random.default_rng(6)
    textures = [
        avg_pool2d(torch.tensor(getattr(skimage.data, name)()[:384, :384], dtype=torch.float64)[None] / 255, 2)
        for name in ("grass", "gravel", "brick")
    ]
    line = fit_line(transfer_curve([torch.from_numpy(1.0 * r.poisson(300 * x.numpy())) for x in textures]))
    assert line.gain < 2.7
    assert line.gain - 1 < 4 * line.gain_error


@pytest.mark.parametrize("looks", [1, 2])
def test_few_looks_of_images_with_empty_parts_are_not_clipped(looks):
    """Of stained cells much is 0 and stays 0, and every other brightness is less than two deviations from it."""
    r = np.random.default_rng(8)
    images = [x * torch.from_numpy(r.gamma(looks, 1 / looks, x.shape)) for x in training_cells().values()]
    assert max(float((y == 0).double().mean()) for y in images) > 0.001
    found = choose_noise(images)
    assert (found.kind, found.doubt) == ("gamma", None)
    assert abs(found.parameters["looks"] - looks) < 3 * found.errors["looks"]
    clipped = [(x + 0.2 * torch.from_numpy(r.standard_normal(x.shape))).clamp_min(0) for x in photographs()]
    assert choose_noise(clipped).kind == "gaussian"


@pytest.mark.parametrize("looks", [1, 4, 16])
def test_speckle_of_intensities(looks):
    """Its variance is the square of the mean over the looks; on another scale the looks stay."""
    r = np.random.default_rng(7)
    images = [x * torch.from_numpy(r.gamma(looks, 1 / looks, x.shape)) for x in photographs()]
    found = choose_noise(images)
    assert found.kind == "gamma"
    assert isinstance(found.noise, Gamma)
    assert found.parameters["looks"] == pytest.approx(looks, rel=0.08)
    assert found.scaled(3.0).parameters == found.parameters
    assert "square of the mean" in str(found)
    # of a range of values that begins elsewhere there are no looks
    assert choose_noise([y - 0.1 for y in images], zero=-0.1).kind != "gamma"
