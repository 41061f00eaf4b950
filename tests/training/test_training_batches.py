"""Batches of measurements: who comes how often, at which scale, and that a coarser one is of the image with larger
pixels."""

import math

import pytest
import torch

from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.noise import Correlated, Gaussian, Poisson
from unveil.operators import Identity, inpainting, mri
from unveil.random import make_generator, normal
from unveil.training.batches import draw_images, make_batches

SIGMA = 0.2


class Recorded(MemorySource):
    """What is read of it, in `windows`."""

    def __init__(self, images):
        super().__init__(images)
        self.windows = []

    def _read(self, i, window):
        self.windows.append(window)
        return super()._read(i, window)


def scales_of(m):
    return (SIGMA / m.noise.sigma).round().long()


# --- windows


def test_crops_are_read_as_wide_as_their_scale_asks_and_have_its_level():
    """Pixel (r, c) holds r + 100 c: so each mean over a block is known, and where its window began."""
    rows, columns = torch.arange(40.0)[:, None], torch.arange(48.0)[None]
    source = Recorded({"ramp": (rows + 100 * columns)[None]})
    draw = make_batches(Dataset(source, Identity(), Gaussian(SIGMA)), 8, 8, (1, 2, 4), augment=False)
    inner_rows, inner_columns = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    for t in range(20):
        source.windows.clear()
        m = draw(make_generator("cpu", t))
        assert m.y.shape == (8, 1, 8, 8)
        k = scales_of(m)
        torch.testing.assert_close(m.noise.sigma, SIGMA / k)
        assert isinstance(m.operator, Identity)
        assert sorted(height for _, _, height, _ in source.windows) == sorted((8 * k).tolist())
        windows = {(top, left, height) for top, left, height, width in source.windows if width == height}
        assert len(source.windows) == 8
        for y, scale in zip(m.y[:, 0], k.tolist()):
            corner = y[0, 0] - (scale - 1) / 2 * 101
            top, left = int(corner) % 100, int(corner) // 100
            assert (top, left, 8 * scale) in windows
            torch.testing.assert_close(y, y[0, 0] + scale * (inner_rows + 100 * inner_columns))


def test_scales_are_drawn_with_equal_odds_and_independently():
    source = MemorySource({"a": torch.zeros(1, 32, 32)})
    draw = make_batches(Dataset(source, Identity(), Gaussian(SIGMA)), 6, 8, (1, 2, 4), augment=True)
    k = torch.stack([scales_of(draw(make_generator("cpu", t))) for t in range(200)])
    n = k.numel()
    for scale in (1, 2, 4):
        assert abs(int((k == scale).sum()) - n / 3) < 4 * math.sqrt(n * 2 / 9)
    together = (k[:, 0] == k[:, 1]).float().mean()
    assert abs(float(together) - 1 / 3) < 4 * math.sqrt(2 / 9 / len(k))
    assert torch.equal(draw(make_generator("cpu", 3)).y, draw(make_generator("cpu", 3)).y)
    assert torch.equal(scales_of(draw(make_generator("cpu", 3))), k[3])


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Poisson(0.01)], ids=["gaussian", "poisson"])
def test_a_coarser_batch_has_the_noise_that_it_states(noise):
    """Of a flat image the variance of the block means is that of k^2 times the exposure, and they are uncorrelated."""
    flat = torch.full((1, 256, 256), 0.5)
    source = MemorySource({"flat": noise.sample(flat[None], make_generator("cpu", 0))[0]})
    draw = make_batches(Dataset(source, Identity(), noise), 64, 32, (1, 2, 4), augment=True)
    m = draw(make_generator("cpu", 1))
    r = m.y - 0.5
    stated = m.noise.variance(torch.full_like(m.y, 0.5)).mean((1, 2, 3))
    ratio = r.square().mean((1, 2, 3)) / stated
    assert len(stated.unique()) == 3
    for level in stated.unique():
        of_scale = ratio[stated == level]
        # windows of one image overlap: its 2^16 k^-2 means are what there is
        k = float((stated.max() / level).sqrt())
        assert abs(float(of_scale.mean()) - 1) < 4 * math.sqrt(2 / min(len(of_scale) * 32**2, 2**16 / k**2))
        side_by_side = (r[..., 1:] * r[..., :-1]).mean((1, 2, 3))[stated == level] / level
        assert abs(float(side_by_side.mean())) < 4 / math.sqrt(min(len(of_scale) * 32**2, 2**16 / k**2))


def test_crops_are_turned_only_where_they_may_be():
    ramp = torch.arange(16.0).expand(1, 16, 16).contiguous()
    for augment in (False, True):
        draw = make_batches(Dataset(MemorySource({"ramp": ramp}), Identity(), Gaussian(SIGMA)), 64, 4, (1,), augment)
        y = draw(make_generator("cpu", 0)).y
        rising = (y[..., 1:] - y[..., :-1] == 1).all((1, 2, 3))
        assert bool(rising.all()) == (not augment)
        assert not augment or abs(float(rising.float().mean()) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 64)


# --- whole measurements


def test_batches_of_incomplete_ones_are_whole_with_equal_odds_and_their_own_operators():
    masks = torch.rand(5, 4, 4, generator=make_generator("cpu", 9)) < 0.5
    masks[:, 0, 0] = True
    source = MemorySource({f"m{i}": torch.full((1, 4, 4), 1.0 + i) for i in range(5)})
    draw = make_batches(Dataset(source, inpainting(masks), Gaussian(SIGMA)), 6, 8, (1,), augment=True)
    counts = torch.zeros(5)
    for t in range(200):
        m = draw(make_generator("cpu", t))
        which = m.y[:, 0, 0, 0].long() - 1
        assert torch.equal(m.operator.measured[:, 0], masks[which])
        assert torch.equal(m.y, (1.0 + which.reshape(-1, 1, 1, 1)) * masks[which][:, None])
        torch.testing.assert_close(m.level, torch.full((6,), SIGMA))
        counts += torch.bincount(which, minlength=5)
    n = 1200
    assert ((counts - n / 5).abs() < 4 * (n * 0.2 * 0.8) ** 0.5).all()
    assert torch.equal(draw(make_generator("cpu", 3)).y, draw(make_generator("cpu", 3)).y)


def test_whole_measurements_of_a_batch_are_at_one_scale():
    """The middle of k-space is the measurement of the means' image, up to what an image has beyond it: here nothing."""
    columns = torch.zeros(3, 32, dtype=torch.bool)
    columns[:, 12:21], columns[1, 3], columns[2, 29] = True, True, True
    operator = mri(columns[:, None].expand(3, 32, 32))
    flat = torch.tensor([0.3, -0.2]).reshape(1, 2, 1, 1) * torch.arange(1.0, 4.0).reshape(3, 1, 1, 1)
    y = operator.A(flat.expand(3, 2, 32, 32))
    data = Dataset(MemorySource({str(i): y[i] for i in range(3)}), operator, Gaussian(SIGMA))
    draw = make_batches(data, 4, 8, (1, 2), augment=True)
    seen = set()
    for t in range(12):
        m = draw(make_generator("cpu", t))
        k = scales_of(m).unique()
        assert len(k) == 1
        seen.add(int(k))
        assert m.y.shape == (4, 2, 32 // int(k), 32 // int(k))
        x = m.operator.A_adjoint(m.y)
        value = x.mean((2, 3))[:, 0] / 0.3
        which = value.round().long() - 1
        torch.testing.assert_close(x, flat[which].expand_as(x), rtol=0, atol=1e-5)
        assert torch.equal(m.operator.measured, operator.select(which).coarser(int(k))[0].measured)
    assert seen == {1, 2}


def test_measurements_that_have_no_scale_are_refused():
    data = Dataset(MemorySource({"a": torch.ones(1, 4, 4)}), inpainting(torch.ones(4, 4)), Gaussian(SIGMA))
    draw = make_batches(data, 2, 4, (2,), augment=False)
    with pytest.raises(UnveilError, match=r"no scale 2: use loss\.scales=\[1\]") as caught:
        draw(make_generator("cpu", 0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("windows", [True, False])
def test_images_are_drawn_as_crops_or_whole(windows):
    images = {str(i): i + 0.1 * normal(torch.zeros(1, 12, 12), make_generator("cpu", i)).clamp(-3, 3) for i in range(4)}
    source = MemorySource(images)
    which = torch.cat(
        [draw_images(source, windows, 8, 5, True, make_generator("cpu", t)).mean((1, 2, 3)).round() for t in range(50)]
    )
    x = draw_images(source, windows, 8, 5, True, make_generator("cpu", 0))
    assert x.shape[1:] == ((1, 5, 5) if windows else (1, 12, 12))
    if not windows:
        for image in x:
            assert any(torch.equal(image, whole) for whole in images.values())
    counts = torch.bincount(which.long(), minlength=4)
    assert ((counts - 100).abs() < 4 * math.sqrt(400 * 0.25 * 0.75)).all()


def test_a_crop_has_the_noise_of_the_image_that_it_came_from():
    """Image i is i everywhere, and has the level i + 1."""
    source = MemorySource({str(i): torch.full((1, 32, 32), float(i)) for i in range(5)})
    data = Dataset(source, Identity(), Gaussian(torch.arange(1.0, 6.0)))
    m = make_batches(data, 64, 8, (1, 2, 4), True)(make_generator("cpu", 3))
    k = (m.y[:, 0, 0, 0] + 1) / m.noise.sigma
    assert torch.equal(k, k.round())
    assert set(k.tolist()) == {1, 2, 4}
    assert len(m.y.unique()) == 5


def test_correlated_noise_is_that_of_each_samples_scale():
    """Of noise alone: what a batch says of the covariance is that of its windows; and none are turned that must not."""
    noise = Correlated(torch.tensor(SIGMA), torch.tensor([[0.2, 1.0, 0.6]]), rows=0.2)
    flat = torch.zeros(60, 1, 64, 64)
    images = noise.sample(flat, make_generator("cpu", 50))
    source = MemorySource({f"{i:02d}": image for i, image in enumerate(images)})
    m = make_batches(Dataset(source, Identity(), noise), 600, 8, (1, 2, 4), augment=True)(make_generator("cpu", 51))
    assert not noise.turns
    for scale in (1, 2, 4):
        own = noise.coarser(scale)
        which = ((m.noise.sigma - own.sigma).abs() < 1e-5).nonzero()[:, 0]
        assert 150 < len(which) < 250
        flat = (m.y[which] / own.sigma).flatten(1).double()
        found = flat.T @ flat / len(flat)
        assert float((found - own.correlation(8, 8)).square().mean().sqrt()) < 1.6 * len(flat) ** -0.5
