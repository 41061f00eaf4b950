"""Noise whose parameters differ from pixel to pixel, as an sCMOS camera's: the contract of its family, by maps."""

import pytest
import torch
from noise_statistics import check_noise

import unveil
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gaussian, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training.batches import make_batches

SIDE = 24


def camera(side=SIDE, channels=2, device="cpu"):
    """Gains that differ by 4, read noise by 9, offsets by more than the read noise."""
    r = [torch.rand(1, channels, side, side, generator=make_generator("cpu", 7, k)).to(device) for k in range(3)]
    return PoissonGaussian(0.02 * 4 ** r[0], 0.02 * 9 ** r[1], 0.1 * r[2] - 0.1)


def uneven(side=SIDE, channels=2, device="cpu"):
    """Levels that differ by 9."""
    r = torch.rand(1, channels, side, side, generator=make_generator("cpu", 8)).to(device)
    return Gaussian(0.03 * 9**r)


MAPPED = {"gaussian": uneven, "poisson-gaussian": camera}
every_mapped = pytest.mark.parametrize("kind", [kind for kind, family in NOISES.items() if family.maps])


def scene(batch=40, device="cpu"):
    return 0.2 + 0.8 * torch.rand(batch, 2, SIDE, SIDE, generator=make_generator("cpu", 5)).to(device)


@every_mapped
@pytest.mark.parametrize("t", [0.15, 0.6, 4.0])
def test_exposure_and_scale_by_pixel(t, kind, device, generator):
    noise, u = MAPPED[kind](device=device), scene(device=device)
    check_noise(noise.sample(u, generator), u, noise)
    factors = t * torch.linspace(1, 0.5, len(u), device=device)
    for share in (t, factors):
        exposed = noise.exposed(share)
        check_noise(exposed.sample(u, generator), u, exposed)
        rest = share if isinstance(share, float) else share.reshape(-1, 1, 1, 1)
        torch.testing.assert_close(exposed.variance(u), noise.variance(u) / rest)
        torch.testing.assert_close(noise.scaled(share).variance(rest * u), rest**2 * noise.variance(u))
    if t < 1:
        check_noise(noise.noisier(noise.sample(u, generator), factors, generator), u, noise.exposed(factors))


def test_a_number_for_all_pixels_is_a_map_of_it():
    u = scene(4)
    one, maps = PoissonGaussian(0.03, 0.05, 0.1), PoissonGaussian(torch.full((SIDE, SIDE), 0.03), 0.05, 0.1)
    torch.testing.assert_close(maps.variance(u), one.variance(u))
    torch.testing.assert_close(maps.coarser(2).variance(u[..., ::2, ::2]), one.coarser(2).variance(u[..., ::2, ::2]))
    assert (one.size, maps.size) == (None, (SIDE, SIDE))
    level = Gaussian(torch.full((SIDE, SIDE), 0.03))
    torch.testing.assert_close(level.variance(u), Gaussian(0.03).variance(u))
    assert (level.fixed_level, level.uneven, level.middle.fixed_level) == (None, True, pytest.approx(0.03))


@every_mapped
@pytest.mark.parametrize("k", [2, 3])
def test_means_over_pixels_have_the_variance_of_their_mean(k, kind, device, generator):
    """Exactly where the scene is flat: of the pixels' own variances, and not of their mean parameters."""
    noise = MAPPED[kind](device=device)
    u = torch.rand(3, 2, SIDE // k, SIDE // k, generator=generator, device=device) + 0.1
    fine = u.repeat_interleave(k, -1).repeat_interleave(k, -2)
    of_pixels = noise.variance(fine).unfold(2, k, k).unfold(3, k, k).mean((4, 5)) / k**2
    coarse = Measurement(noise.sample(fine, generator), Identity(), noise).coarser(k)
    torch.testing.assert_close(coarse.noise.variance(u), of_pixels)
    many = u[:1].expand(400, -1, -1, -1)
    fine = many.repeat_interleave(k, -1).repeat_interleave(k, -2)
    check_noise(Measurement(noise.sample(fine, generator), Identity(), noise).coarser(k).y, many, noise.coarser(k))


@every_mapped
def test_windows_and_turns_go_with_the_image(kind):
    noise, u = MAPPED[kind](), scene(2)
    m = Measurement(u, Identity(), noise)
    part = m.window((3, 5, 7, 9))
    torch.testing.assert_close(part.noise.variance(part.y), noise.variance(u)[..., 3:10, 5:14])
    for turn in range(8):
        there = noise.variance(u).rot90(turn % 4, (2, 3))
        seen = u.rot90(turn % 4, (2, 3))
        there, seen = (x.flip(3) if turn >= 4 else x for x in (there, seen))
        torch.testing.assert_close(noise.turned(turn).variance(seen), there)
    rows = torch.tensor([1, 0, 1])
    torch.testing.assert_close(noise.exposed(torch.tensor([1.0, 2.0])).select(rows).variance(u[rows]),
                               noise.exposed(torch.tensor([1.0, 2.0])).variance(u)[rows])  # fmt: skip


def test_a_crop_has_the_maps_of_its_place_as_it_is_turned():
    """The image is the map of the offsets itself, so that every crop shows which part it is."""
    offset = torch.rand(1, 1, 40, 40, generator=make_generator("cpu", 2))
    data = Dataset(MemorySource({"a": offset[0]}), Identity(), PoissonGaussian(1.0, 1.0, offset))
    m = make_batches(data, 48, 8, (1, 2, 4), True)(make_generator("cpu", 3))
    torch.testing.assert_close(m.noise.offset, m.y)
    k = (1 / m.noise.gain).sqrt().flatten(1)[:, 0]
    assert set(k.tolist()) == {1, 2, 4}


def test_learning_takes_the_pattern_off_and_the_folder_keeps_the_maps(tmp_path):
    """A flat scene: raw images hold the pattern of offsets and gains, what the network is given does not."""
    noise = camera(32, 1)
    scene = torch.linspace(0.6, 1.0, 32).expand(3, 1, 32, 32)
    even = noise.corrected
    assert even.gain.ndim == even.offset.ndim == 0
    assert even.read.shape == (1, 1, 32, 32)
    gain, offset = noise.gain.median(), noise.offset.median()
    u = noise.offset + (scene - offset) * noise.gain / gain
    torch.testing.assert_close(noise.pattern.off(u), scene)
    y = noise.sample(u, make_generator("cpu", 1))
    many = u[:1].expand(2000, -1, -1, -1)
    left = noise.pattern.off(noise.sample(many, make_generator("cpu", 1))) - scene[:1]
    z = left / even.variance(scene[:1]).sqrt()
    assert float(z.mean(0).abs().max()) < 5 / 2000**0.5
    assert float((z.square().mean(0) - 1).abs().max()) < 5 * (4 / 2000) ** 0.5  # 2 and the excess, 2 at most
    settings = {"training": {"batch": 2, "crop": 16, "warmup": 1}, "estimator": {"widths": [8, 8]}}
    model = unveil.learn(y, noise=noise, steps=2, settings=settings, progress=False)
    torch.testing.assert_close(model.measurement(y).y, noise.pattern.off(y))
    again = unveil.open_run(model.save(tmp_path / "run"))
    torch.testing.assert_close(again(y), model(y))
    torch.testing.assert_close(again.noise.read, noise.read)
    with pytest.raises(UnveilError, match="16x16 pixels, and the maps of the detector have 32x32"):
        model.evaluate(y[..., :16, :16])
    with pytest.raises(UnveilError, match="of one size"):
        PoissonGaussian(torch.ones(4, 4), torch.ones(4, 5))
