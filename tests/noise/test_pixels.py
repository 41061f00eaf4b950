"""Maps of a simulated camera from calibration frames: as far off as stated, nearer than pixels by themselves."""

import pytest
import torch

from unveil.noise.estimate.pixels import pixel_maps
from unveil.random import make_generator, normal

SIDE, GAIN, READ, OFFSET = 80, 2.0, 2.0, 100.0


def frames(true, light, count, seed):
    """(count, 1, SIDE, SIDE) of light in photons, a number or (SIDE, SIDE)."""
    gain, read, offset = true
    generator = make_generator("cpu", seed)
    lit = torch.as_tensor(light, dtype=torch.float64).expand(count, 1, SIDE, SIDE)
    k = torch.poisson(lit, generator)
    return offset + gain * k + read * normal(k, generator)


def camera(gains=0.1, seed=1):
    """Gains, read noise with hot pixels, and offsets, (1, SIDE, SIDE) each."""
    generator = make_generator("cpu", seed)
    like = torch.zeros(1, SIDE, SIDE, dtype=torch.float64)
    hot = torch.rand(like.shape, generator=generator) < 0.01
    gain = GAIN * (1 + gains * normal(like, generator)).clamp_min(0.3)
    read = READ * (0.5 * normal(like, generator)).exp() * torch.where(hot, 10.0, 1.0)
    return gain, read, OFFSET + 3 * normal(like, generator) + 30 * hot


def found(true, darks=20, flats=20, light=(300, 1000)):
    lit = torch.cat([frames(true, brightness, flats, 10 + k) for k, brightness in enumerate(light)])
    return pixel_maps(frames(true, 0.0, darks, 2), lit, GAIN)


@pytest.mark.parametrize("darks", [4, 20])
def test_maps_are_as_far_off_as_stated(darks):
    true = camera()
    maps = found(true, darks)
    for name, values in zip(("gain", "read", "offset"), true):
        off = (maps[name].values - values).abs()
        assert 0.9 < float(off.flatten().quantile(0.683)) / maps[name].error < 1.35
    own = frames(true, 0.0, darks, 2)
    alone = (own.std(0) / true[1]).log().square().mean()
    assert float((maps["read"].values / true[1]).log().square().mean()) < (0.6 if darks == 4 else 0.98) * float(alone)
    ratio = float(maps["read"].values.square().mean() / true[1].square().mean())
    assert ratio == pytest.approx(1, abs=0.15 if darks == 4 else 0.08), "hot pixels are not drawn to the others"


def test_parameters_that_are_alike_have_no_map():
    gain, read, offset = camera()
    alike = torch.full_like(gain, GAIN), torch.full_like(read, READ), torch.full_like(offset, OFFSET)
    assert found(alike) == {}
    assert found((alike[0], read, alike[2])).keys() == {"read"}
    assert pixel_maps(frames((gain, read, offset), 0.0, 3, 2), None, GAIN) == {}


def test_an_uneven_lamp_is_not_in_the_gains_and_neither_is_a_scene():
    """A lamp changes from corner to corner; texture of single pixels in the flats is light, and no gain."""
    true = camera()
    slope = 1 + 0.3 * torch.linspace(-1, 1, SIDE, dtype=torch.float64).expand(SIDE, SIDE)
    lit = torch.cat([frames(true, level * slope, 20, 10 + k) for k, level in enumerate((300, 1000))])
    gain = pixel_maps(frames(true, 0.0, 20, 2), lit, GAIN)["gain"]
    assert float((gain.values - true[0]).square().mean().sqrt()) < 0.015 * GAIN
    alike = (torch.full_like(true[0], GAIN), *true[1:])
    texture = 1 + 0.1 * torch.randn(SIDE, SIDE, generator=make_generator("cpu", 4), dtype=torch.float64)
    lit = torch.cat([frames(alike, level * texture, 20, 10 + k) for k, level in enumerate((300, 1000))])
    assert "gain" not in pixel_maps(frames(alike, 0.0, 20, 2), lit, GAIN)
