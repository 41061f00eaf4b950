"""Calibration frames: each parameter within a few of its own standard errors, and what differs by pixel."""

import math

import pytest
import torch

from unveil.errors import UnveilError
from unveil.noise import choose_noise
from unveil.noise.estimate import fit_line
from unveil.noise.estimate.calibrated import calibrated, camera
from unveil.noise.estimate.frames import dark_frames, levels_of, repeated
from unveil.random import make_generator, normal

GAIN, READ, OFFSET = 2.0, 3.0, 100.0


def frames(light, count=8, seed=0, drift=0.0):
    """(count, 1, 96, 96) of light (96, 96) in photons, the last by `drift` of it brighter than the first."""
    generator = make_generator("cpu", seed)
    factor = 1 + drift * torch.linspace(-0.5, 0.5, count, dtype=torch.float64).reshape(-1, 1, 1, 1)
    photons = torch.poisson((light * factor).expand(count, 1, 96, 96), generator)
    return GAIN * photons + OFFSET + READ * normal(photons, generator)


def uneven():
    return torch.linspace(10, 400, 96, dtype=torch.float64).expand(96, 96)


def test_darks_tell_offset_and_read_noise_and_hot_pixels():
    y = frames(torch.zeros(96, 96, dtype=torch.float64))
    hot = torch.rand(1, 96, 96, generator=make_generator("cpu", 9)) < 0.003
    y = torch.where(hot, y + 60, y)
    darks = dark_frames(y)
    assert torch.equal(darks.hot, hot)
    assert abs(darks.offset - OFFSET) < 4 * darks.offset_error
    assert abs(darks.read - READ) < 4 * darks.read_error
    # of N pixels over n frames: read / (2 N (n - 1))^(1/2), and read / (N n)^(1/2)
    pixels = int((~hot).sum())
    assert darks.read_error == pytest.approx(READ / math.sqrt(2 * pixels * 7), rel=0.1)
    assert darks.offset_error == pytest.approx(READ * math.sqrt(2 / (pixels * 8)), rel=0.1)
    with pytest.raises(UnveilError, match="at least two"):
        dark_frames(y[:1])


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_repeats_tell_the_gain_whatever_the_scene(drift):
    """Texture of single pixels cancels, and so does a lamp's drift."""
    scene = uneven() * (1 + 0.5 * torch.rand(96, 96, generator=make_generator("cpu", 1)))
    line = fit_line(repeated(frames(scene, drift=drift), OFFSET), systematic=0.0)
    assert abs(line.gain - GAIN) < 4 * line.gain_error
    assert line.gain_error < 0.02 * GAIN
    assert line.zero == pytest.approx(OFFSET - READ**2 / GAIN, abs=4 * line.zero_error)


def test_saturated_pixels_are_left_out():
    y = frames(uneven()).clamp(max=700)
    line = fit_line(repeated(y, OFFSET), systematic=0.0)
    assert abs(line.gain - GAIN) < 4 * line.gain_error


def test_a_camera_by_darks_and_flats():
    darks = dark_frames(frames(torch.zeros(96, 96, dtype=torch.float64), seed=2))
    found = camera(darks, frames(uneven(), seed=3))
    assert found.kind == "poisson-gaussian"
    for name, true in (("gain", GAIN), ("read", READ), ("offset", OFFSET)):
        assert abs(found.parameters[name] - true) < 4 * found.errors[name]
        assert found.errors[name] < 0.02 * true
    with pytest.raises(UnveilError, match="does not grow"):
        camera(darks, frames(torch.zeros(96, 96, dtype=torch.float64), seed=4))


def test_what_images_leave_open_darks_tell_and_flats_sharpen_the_gain():
    scene = uneven().unflatten(0, (6, 16)).flatten(0, 1)
    found = choose_noise([frames(scene + 20, count=1, seed=s)[0] for s in range(4)])
    assert found.errors["read"] > 0.2 * READ
    darks = dark_frames(frames(torch.zeros(96, 96, dtype=torch.float64), seed=5))
    with_darks = calibrated(found, darks)
    assert abs(with_darks.parameters["read"] - READ) < 4 * with_darks.errors["read"] < 0.2 * READ
    assert abs(with_darks.parameters["gain"] - GAIN) < 3 * with_darks.errors["gain"]
    with_flats = calibrated(found, repeats=frames(uneven(), seed=6))
    assert with_flats.errors["gain"] < 0.5 * found.errors["gain"]
    assert abs(with_flats.parameters["gain"] - GAIN) < 4 * with_flats.errors["gain"]
    assert with_flats.parameters["offset"] == found.parameters["offset"]


def test_flats_of_several_exposures_are_several_groups():
    """Scaled to one brightness, their variances would be no variances of it: 25% too much here."""
    y = torch.cat(
        [frames(f * torch.full((96, 96), 300.0, dtype=torch.float64), seed=i) for i, f in enumerate((1, 2, 4))]
    )
    assert [len(group) for group in levels_of(y, OFFSET)] == [8, 8, 8]
    line = fit_line(repeated(y, OFFSET), systematic=0.0)
    assert abs(line.gain - GAIN) < 4 * line.gain_error < 0.2 * GAIN
    drifting = frames(uneven(), drift=0.1)
    assert [len(group) for group in levels_of(drifting, OFFSET)] == [8]
