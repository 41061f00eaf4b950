"""Saturated and dead pixels are found by themselves, and nothing else is taken for them."""

import math

import pytest
import torch

from unveil.checks import noise_fit
from unveil.checks.faulty import dead_pixels, saturated_from
from unveil.checks.look import filled, look
from unveil.data import Gaps, MemorySource, heldout_cells, training_cells
from unveil.errors import UnveilError
from unveil.noise import Gaussian, Poisson, PoissonGaussian, choose_noise
from unveil.random import make_generator

CAMERA = PoissonGaussian(0.02, 0.03, 0.1)


def cells(camera=CAMERA):
    """Eight images; the scene is another in each."""
    scenes = [*training_cells().values(), *heldout_cells().values()]
    return [camera.sample(0.1 + x[None, :, :128, :128], make_generator("cpu", i))[0] for i, x in enumerate(scenes)]


def source(images):
    return MemorySource({str(i): y for i, y in enumerate(images)})


def test_saturated_pixels_are_found():
    whole = torch.cat([y.flatten() for y in cells()])
    few, many = (float(whole.quantile(1 - share)) for share in (0.015, 0.1))
    assert saturated_from([y.clamp_max(few) for y in cells()], CAMERA) == pytest.approx(few)
    assert saturated_from([y.clamp_max(many) for y in cells()], CAMERA) is None, "images that were exposed too long"
    assert saturated_from(cells(), CAMERA) is None


def test_the_brightest_count_is_not_saturated():
    photons = [Poisson(1.0).sample(4 * x[None] + 0.2, make_generator("cpu", i))[0] for i, x in
               enumerate(training_cells().values())]  # fmt: skip
    assert saturated_from(photons, Poisson(1.0)) is None


def test_dead_and_hot_pixels_are_found():
    faulty = torch.rand(1, 128, 128, generator=make_generator("cpu", 5)) < 5e-4
    images = cells()
    for k, y in enumerate(images):
        y[faulty] = 1.5 + 0.01 * k
    found = dead_pixels(source(images), CAMERA)
    assert torch.equal(found, faulty)
    assert dead_pixels(source(cells()), CAMERA) is None
    assert dead_pixels(source(images[:2]), CAMERA) is None, "two images cannot tell"


def test_scattered_outliers_are_no_faults_of_the_detector():
    images = cells()
    for i, y in enumerate(images):
        y[torch.rand(y.shape, generator=make_generator("cpu", 50 + i)) < 1e-3] = 2.0
    assert dead_pixels(source(images), CAMERA) is None


def test_the_model_fits_what_is_left_of_saturated_images():
    """Blocks near gaps are left out: there noise is cut off; clipped ones that are not stated are told."""
    images = [y.clamp_max(0.8) for y in cells()]
    clipped = [torch.where(y >= 0.8 - 1e-6, float("nan"), y) for y in images]
    assert float(torch.stack(clipped).isnan().float().mean()) > 0.02
    assert noise_fit(clipped, CAMERA).verdict == "fits"
    assert noise_fit(images, CAMERA).verdict == "does not fit"
    wrong = PoissonGaussian(0.04, 0.06, 0.1)
    assert noise_fit(clipped, wrong).verdict == "does not fit"


def test_gaps_are_filled_from_around_them():
    y = torch.full((1, 8, 8), 0.3)
    y[0, 4, 4] = float("nan")
    assert torch.allclose(filled(y), torch.full((1, 8, 8), 0.3))
    assert torch.equal(filled(torch.ones(1, 4, 4)), torch.ones(1, 4, 4))
    y[:, :4] = float("nan")
    assert filled(y).isfinite().all()
    blank = torch.stack([torch.ones(4, 4), torch.full((4, 4), float("nan"))])
    assert torch.equal(filled(blank).isnan(), blank.isnan()), "nothing to fill it with"


def test_an_image_of_which_nothing_is_known_is_named():
    blank = Gaps(source([*cells()[:2], torch.ones(1, 128, 128)]), 1.0, None)
    with pytest.raises(UnveilError, match=r"2 .*all pixels are blank, saturated or dead: leave it out"):
        look(blank)
    assert [*look(blank, damaged="skip")] == ["0", "1"]


def test_noise_is_found_beside_blank_borders_and_scattered_gaps():
    """Means in place of the gaps pass for correlated noise."""
    images = cells()
    for i, y in enumerate(images):
        y[:, :12] = float("nan")
        y[torch.rand(y.shape, generator=make_generator("cpu", 70 + i)) < 0.02] = float("nan")
    found = choose_noise([filled(y) for y in images], math.nan, lambda: math.nan)
    assert found.kind == "poisson-gaussian"
    assert found.doubt is None
    assert abs(found.noise.gain - CAMERA.gain) < 3 * found.errors["gain"]


def test_a_level_too_high_is_told_beside_gaps_too():
    y = [Gaussian(0.1).sample(torch.full((1, 1, 128, 128), 0.5), make_generator("cpu", i))[0] for i in range(4)]
    for one in y:
        one[:, ::40, ::40] = float("nan")
    assert noise_fit(y, Gaussian(0.1)).verdict == "fits"
    assert noise_fit(y, Gaussian(0.15)).verdict == "does not fit"
