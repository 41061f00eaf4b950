"""Images of one brightness: the third cumulant tells the family; what it does not identify is said, or left alone."""

import numpy as np
import pytest
import torch

from unveil.noise import choose_noise
from unveil.noise.estimate.characteristic import Seen, camera, counted, gaussian, speckle

SHAPE, IMAGES, MEAN = (1, 128, 128), 4, 0.44


def images(draw, seed=0):
    r = np.random.default_rng(seed)
    return [torch.from_numpy(np.asarray(draw(r), dtype=np.float64)).float() for _ in range(IMAGES)]


def counts(photons):
    return images(lambda r: MEAN / photons * r.poisson(photons, SHAPE))


def looks(number):
    return images(lambda r: MEAN * r.gamma(number, 1 / number, SHAPE))


def read_out(gain, read, photons, offset):
    return images(lambda r: gain * r.poisson(photons, SHAPE) + offset + read * r.standard_normal(SHAPE))


@pytest.mark.parametrize("photons", [0.5, 2, 100])
def test_whole_photons(photons):
    found = choose_noise(counts(photons))
    assert (found.kind, found.doubt) == ("poisson", None)
    assert found.parameters["gain"] == pytest.approx(MEAN / photons, rel=1e-4)
    assert "one brightness" in str(found)
    # of a range that begins elsewhere 0 is not the dark
    assert choose_noise([y - 0.1 for y in counts(photons)], zero=-0.1).kind != "poisson"


@pytest.mark.parametrize("number", [1, 4, 32])
def test_speckle(number):
    found = choose_noise(looks(number))
    assert (found.kind, found.doubt) == ("gamma", None)
    assert abs(found.parameters["looks"] - number) < 3 * found.errors["looks"] < 0.05 * number


def test_a_camera_whose_offset_is_zero_is_identified():
    gain, read, photons = 0.22, 0.33, 2
    found = choose_noise(read_out(gain, read, photons, 0.0))
    assert (found.kind, found.assumed, found.doubt) == ("poisson-gaussian", "zero", None)
    assert found.parameters["offset"] == pytest.approx(0, abs=1e-6)
    assert found.parameters["gain"] == pytest.approx(gain, rel=0.1)
    assert found.parameters["read"] == pytest.approx(read, rel=0.1)
    assert "offset is taken for 0" in str(found)


@pytest.mark.parametrize(("gain", "read", "photons"), [(2, 2, 2), (2, 2, 20), (5, 10, 30)])
def test_what_is_assumed_of_an_offset_is_said_and_covered_by_the_errors(gain, read, photons):
    found = choose_noise([y.round() for y in read_out(gain, read, photons, 100)])
    assert (found.kind, found.assumed) == ("poisson-gaussian", "electron")
    assert "read noise is taken for about one photon" in str(found)
    for name, true in (("gain", gain), ("read", read), ("offset", 100)):
        assert abs(found.parameters[name] - true) < 2.5 * found.errors[name], (name, found)
    low, high = found.bounds
    assert low < 100 < high
    # whatever is assumed, variance and third cumulant at this brightness are right
    u = torch.full((1, 1, 1, 1), 100.0 + gain * photons)
    assert float(found.noise.variance(u)) == pytest.approx(gain**2 * photons + read**2, rel=0.03)
    third = found.parameters["gain"] ** 2 * (float(u) - found.parameters["offset"])
    assert third == pytest.approx(gain**3 * photons, rel=0.3)


@pytest.mark.parametrize(
    "draw",
    [
        lambda r: MEAN + 0.1 * r.standard_normal(SHAPE),
        lambda r: r.random(SHAPE),
        lambda r: np.abs(r.standard_normal(SHAPE) + 1j * r.standard_normal(SHAPE)),  # skewed, of no family here
        lambda r: 100 + 5 * r.standard_normal(SHAPE) + 200 * (r.random(SHAPE) < 5e-4),  # hot pixels in the dark
        lambda r: 1 - MEAN * r.gamma(4, 1 / 4, SHAPE),  # skewed downwards
    ],
    ids=["gaussian", "uniform", "magnitudes", "hot pixels", "downwards"],
)
def test_what_is_not_skewed_or_fits_nothing_stays(draw):
    found = choose_noise(images(draw))
    assert found.kind == "gaussian"
    assert "skewed" not in str(found)


def test_uneven_light_does_not_matter_and_structure_is_left_alone():
    light = 2 + np.linspace(0, 0.3, SHAPE[2])
    found = choose_noise(images(lambda r: r.gamma(8, light / 8, SHAPE)))
    assert (found.kind, found.assumed) == ("gamma", None)
    assert found.parameters["looks"] == pytest.approx(8, rel=0.03)
    spots = np.zeros(SHAPE)
    spots[0, 4::16, 4::16] = 1.0  # skewed, and no noise
    structure = choose_noise(images(lambda r: spots + 0.1 * r.standard_normal(SHAPE)))
    assert structure.kind == "gaussian"


def test_laws_are_those_of_what_is_drawn():
    """The distance of the right law is chance's; of one a tenth off it is 20 times that. Moments are unbiased."""
    r = np.random.default_rng(1)
    draws = {
        (0.3, 1.5): (gaussian(0.09), gaussian(0.1), lambda: 1.5 + 0.3 * r.standard_normal(SHAPE)),
        (0.0, 1.0): (counted(0.5, 1.0), counted(0.55, 1.0), lambda: 0.5 * r.poisson(2, SHAPE)),
        (0.0, 2.0): (speckle(1.0, 3.0), speckle(1.0, 3.3), lambda: r.gamma(3, 1 / 3, SHAPE)),
        (0.0, 3.0): (
            camera(1.0, 0.5 / 2, 0.5), camera(1.1, 0.5 / 2, 0.5),
            lambda: 0.5 * r.poisson(2, SHAPE) + 0.5**0.5 * r.standard_normal(SHAPE),
        ),
    }  # fmt: skip
    for right, wrong, draw in draws.values():
        seen = Seen([torch.from_numpy(draw()) for _ in range(8)])
        assert seen.distance(right) < 4 * seen.chance
        assert seen.distance(wrong) > 20 * seen.chance
    seen = Seen([torch.from_numpy(r.gamma(3, 1 / 3, SHAPE)) for _ in range(8)])
    off = (seen.moments - torch.tensor([1, 1 / 3, 2 / 9])).abs()
    assert bool((off < 4 * seen.error(lambda a: a)).all())
    assert bool((seen.error(lambda a: a) < torch.tensor([0.003, 0.003, 0.01])).all())
