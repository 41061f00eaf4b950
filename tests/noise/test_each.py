"""Noise whose gain is each image's own, as of images that were stretched one by one: found image by image."""

import functools
import math

import numpy as np
import pytest
import torch

from unveil.checks import contradictions, noise_fit
from unveil.data import MemorySource
from unveil.data.cells import heldout_cells, training_cells
from unveil.errors import UnveilError, UnveilWarning
from unveil.noise import OwnNoise, Poisson, choose_noise
from unveil.noise.estimate.laws import LAWS, own_law
from unveil.noise.estimate.line import TransferCurve
from unveil.noise.estimate.own_line import own_line
from unveil.noise.estimate.third import read_square
from unveil.runs.noise import noise_of

PHOTONS, READ = 40, 1.5
"""At white, and in photons."""


@functools.cache
def stretched(steps=None, factor=6.0, moved=0.2, read=READ):
    """Cells in photons, stretched by factors over a range of `factor`, and moved; images, their gains and their darks.

    steps: grey levels that they are rounded to.
    """
    r = np.random.default_rng(3)
    images, gains, darks = {}, [], []
    cells = {**training_cells(), **heldout_cells()}
    for (name, x), u in zip(cells.items(), np.linspace(-0.5, 0.5, len(cells))):
        z = r.poisson(PHOTONS * x.double().numpy()) + read * r.standard_normal(x.shape)
        a, b = math.exp(u * math.log(factor)) / 3 / PHOTONS, moved * r.uniform(-1, 1)
        y = a * z + b
        images[name] = torch.tensor(y if steps is None else (y * steps).round() / steps).float()
        gains.append(a)
        darks.append(b)
    return images, torch.tensor(gains), torch.tensor(darks)


@pytest.mark.parametrize("steps", [None, 255])
def test_gains_of_their_own_are_found_and_the_read_noise_they_share(steps):
    images, gains, darks = stretched(steps)
    found = choose_noise([*images.values()])
    assert (found.kind, found.doubt) == ("poisson-gaussian", None)
    assert found.each.electrons == pytest.approx(READ, rel=0.3)
    assert "of each image its own: gain" in str(found)
    noise = found.each.find(images.values(), [*images])
    error = (noise.gain / gains).log()
    assert float(error.abs().max()) < 0.2
    assert abs(float(error.mean())) < 0.08
    torch.testing.assert_close(noise.read / noise.gain, torch.full((8,), found.each.electrons))
    u = darks[:, None] + gains[:, None] * PHOTONS * torch.tensor([0.05, 0.3, 0.8])  # the variance there
    true = gains[:, None] ** 2 * (PHOTONS * torch.tensor([0.05, 0.3, 0.8]) + READ**2)
    assert float((noise.variance(u) / true).log().abs().max()) < 0.25
    assert (found.gains.low, found.gains.high) == pytest.approx((float(gains.min()), float(gains.max())), rel=0.2)


def test_the_noise_fits_then_and_one_noise_for_all_does_not():
    images, _, _ = stretched()
    found = choose_noise([*images.values()])
    noise = found.each.find(images.values(), [*images])
    assert noise_fit([*images.values()], noise).verdict == "fits"
    assert contradictions(images, noise) == []
    one = noise.select(torch.tensor([3]))
    assert any("not of one gain" in line for line in contradictions(images, one))


@pytest.mark.parametrize(("factor", "own"), [(1.0, False), (1.3, True)])
def test_whether_one_gain_serves_all_images(factor, own):
    images, _, _ = stretched(factor=factor, moved=0.0)
    found = choose_noise([*images.values()])
    assert (found.kind, found.each is not None) == ("poisson-gaussian", own)


def test_lines_of_their_own_are_better_by_nothing_where_they_are_one_and_by_much_where_not():
    """Fisher's ratio: 1 by chance, whatever the scale of the errors; of speckle, whose law is no line, below 1."""
    r, m = np.random.default_rng(4), torch.linspace(0.1, 1, 12, dtype=torch.double)
    laws = {"gaussian": m**0, "poisson": 3 * m, "poisson-gaussian": 2 * m + 1, "gamma": m**2}

    def curves(v, factors, scale):
        rows = []
        for a in factors:
            error = 0.05 * a * v
            rows.append(TransferCurve(m, a * v + error * torch.from_numpy(r.standard_normal(12)), scale * error))
        return rows

    for kind, v in laws.items():
        for scale in (1.0, 3.0):
            same = own_law(curves(v, (1, 1, 1, 1, 1, 1), scale), LAWS[kind])
            assert same.apart < 4, kind
            assert not same.own
            assert (same.sloping > 10) == (kind != "gaussian")
            if kind != "gamma":
                assert own_law(curves(v, (1, 2, 0.5, 1, 1.5, 1), scale), LAWS[kind]).own == (kind != "gaussian")
    assert not own_law(curves(laws["poisson"], (1,), 1.0), LAWS["poisson"]).own


def test_levels_that_differ_are_no_gains():
    r = np.random.default_rng(1)
    several = [
        x + level * torch.from_numpy(r.standard_normal(x.shape)).float()
        for x, level in zip(training_cells().values(), (0.02, 0.04, 0.08, 0.16, 0.1, 0.05))
    ]
    assert choose_noise(several).each is None


def test_whole_photons_tell_the_gain_of_each_image():
    r, gains = np.random.default_rng(2), (0.002, 0.004, 0.008, 0.016, 0.012, 0.006)
    several = [
        torch.from_numpy(g * r.poisson(PHOTONS * x.numpy())).float() for x, g in zip(training_cells().values(), gains)
    ]
    found = choose_noise(several)
    assert found.each == OwnNoise("poisson")
    noise = found.each.of(torch.stack(several))
    assert isinstance(noise, Poisson)
    torch.testing.assert_close(noise.gain, torch.tensor(gains), rtol=1e-3, atol=0)
    with pytest.raises(UnveilError, match="b: holds no whole photons"):
        found.each.find([several[0], several[1] + 0.1 * torch.rand(several[1].shape)], ["a", "b"])


@pytest.mark.parametrize("read", [0.3, 1.0])
def test_skewness_tells_the_read_noise_of_few_photons(read):
    """Variance alone does not: half a photon to two, where none is dark."""
    r = np.random.default_rng(8)
    x = np.linspace(0.5, 2, 320)[None] * np.ones((320, 1))
    told = []
    for gain, offset in ((0.02, 0.1), (0.05, -0.2), (0.1, 0.3), (0.03, 0.0), (0.07, 0.0)):
        y = torch.from_numpy(offset + gain * (r.poisson(x) + read * r.standard_normal(x.shape)))[None].float()
        level, centre = gain**2 * (1.25 + read**2), offset + 1.25 * gain
        told.append(read_square(y, own_line(y)._replace(gain=gain, gain_error=0.0, level=level, centre=centre)))
    value, error = torch.tensor(told, dtype=torch.double).T
    w = 1 / error.square()
    together = float(w.sum()) ** -0.5
    assert together < 0.15
    assert abs(float((w * value).sum() / w.sum()) - read**2) < 4 * together
    assert ((value - read**2).abs() < 4 * error).all()


def test_an_image_that_does_not_tell_its_gain_has_the_dark_of_the_others():
    """Of one brightness V alone is seen: with the dark of the others, here empty, its gain is V^(1/2) / d^(1/2)."""
    own, r = OwnNoise("poisson-gaussian", READ, READ**2), np.random.default_rng(0)
    flat = torch.from_numpy(0.3 + 0.02 * READ * r.standard_normal((1, 128, 128))).float()
    with pytest.warns(UnveilWarning, match=r"^flat\.tif: too even, or too full of structure"):
        noise = own.find([flat], ["flat.tif"])
    assert float(noise.variance(flat.mean().reshape(1, 1))) == pytest.approx((0.02 * READ) ** 2, rel=0.1)
    assert float(noise.gain) == pytest.approx(0.02, rel=0.3)
    with pytest.raises(UnveilError, match=r"^none\.tif: the noise of this image cannot be found"):
        own.find([torch.zeros(1, 64, 64)], ["none.tif"])


def test_rounded_tails_are_not_clipped():
    """Noise around a dark background that was rounded to few values: the least of them is no pile."""
    r = np.random.default_rng(5)
    x = np.linspace(0, 1, 256)[None] * np.ones((256, 1))
    y = 0.02 * (r.poisson(50 * x) + 0.8 * r.standard_normal(x.shape)) + 0.03
    coarse = torch.from_numpy((y * 128).round().clip(0) / 128)[None].float()
    assert float((coarse == coarse.min()).double().mean()) > 0.0005
    line = own_line(coarse)
    assert line.centre < 0.2
    assert line.gain == pytest.approx(0.02, rel=0.08)


def test_entries_that_were_not_measured_say_nothing_of_the_gain():
    """Saturated pixels are gaps: each image's noise is found in what is left."""
    images, gains, _ = stretched()
    holes = {name: torch.where(y > y.quantile(0.999), torch.nan, y) for name, y in list(images.items())[:2]}
    source = MemorySource(holes)
    source.gaps = True
    noise = noise_of(OwnNoise("poisson-gaussian", READ, READ**2), source)
    assert float((noise.gain / gains[:2]).log().abs().max()) < 0.2
