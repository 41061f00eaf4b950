"""Windows are what the generator says, and uniform: chi-square statistics stay within 4 standard errors."""

import math
import time

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from unveil.data import MemorySource, crops, open_images
from unveil.data.crops import draw_boxes, read_boxes
from unveil.errors import UnveilError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinates(h, w, offset=0):
    """(2, h, w): the row and the column of each pixel, so that a crop tells where it came from."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([rows, columns]).float() + offset


def assert_uniform(counts):
    """chi2 has mean k-1 and variance 2(k-1) under uniformity."""
    counts = torch.as_tensor(counts, dtype=torch.float64)
    expected = counts.sum() / len(counts)
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    freedom = len(counts) - 1
    assert abs(chi2 - freedom) < 4 * math.sqrt(2 * freedom)


def test_generator_decides():
    source = MemorySource({"a": torch.rand(3, 20, 30), "b": torch.rand(3, 40, 25)})
    x = crops(source, 16, 8, generator(1))
    assert x.shape == (16, 3, 8, 8)
    assert x.dtype == torch.float32
    state = torch.get_rng_state()
    assert torch.equal(x, crops(source, 16, 8, generator(1)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(x, crops(source, 16, 8, generator(2)))
    g = generator(1)
    assert not torch.equal(crops(source, 16, 8, g), crops(source, 16, 8, g))


def test_window_positions_are_uniform_and_reach_every_edge():
    x = crops(MemorySource({"a": coordinates(10, 12)}), 8000, 4, generator(), augment=False)
    tops, lefts = x[:, 0, 0, 0].long(), x[:, 1, 0, 0].long()
    assert torch.equal(x[:, :, 3, 3], x[:, :, 0, 0] + 3)
    assert_uniform(torch.bincount(tops * 9 + lefts, minlength=7 * 9))


def test_images_are_drawn_by_their_pixels():
    images = {
        "small": torch.zeros(1, 8, 8),
        "large": torch.ones(1, 16, 24),
        "exact": torch.full((1, 4, 4), 2.0),
    }
    n = 6000
    x = crops(MemorySource(images), n, 4, generator())[:, 0, 0, 0]
    for value, pixels in enumerate((64, 384, 16)):
        p = pixels / 464
        assert abs((x == value).sum().item() - n * p) < 4 * math.sqrt(n * p * (1 - p))


def test_augment_covers_the_eight_orientations_uniformly():
    image = torch.arange(9.0).reshape(1, 3, 3)
    orientations = [o for k in range(4) for o in (image.rot90(k, (1, 2)), image.rot90(k, (1, 2)).flip(2))]
    x = crops(MemorySource({"a": image}), 4000, 3, generator())
    counts = [sum(torch.equal(y, o) for y in x) for o in orientations]
    assert sum(counts) == 4000
    assert_uniform(counts)


def test_augment_does_not_move_the_windows():
    source = MemorySource({"a": torch.rand(1, 30, 40), "b": torch.rand(1, 20, 20)})
    plain, turned = (crops(source, 32, 6, generator(3), augment=a) for a in (False, True))
    assert torch.equal(plain.flatten(1).sort().values, turned.flatten(1).sort().values)
    assert not torch.equal(plain, turned)


def test_errors():
    source = MemorySource({"a": torch.zeros(1, 30, 40), "b": torch.zeros(1, 50, 12)})
    with pytest.raises(UnveilError, match=r"b \(image 1\) is the smallest image, 50x12 .* at most 12"):
        crops(source, 2, 16, generator())
    for batch, size in [(0, 4), (4, 0)]:
        with pytest.raises(UnveilError, match="at least 1"):
            crops(source, batch, size, generator())


@pytest.mark.parametrize("extension", ["png", "npy"])
def test_fast_from_a_folder(tmp_path, extension):
    """About 10 ms for 32 windows of 128x128; the test allows ten times that, for a busy machine."""
    v = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    for k in range(4):
        write = iio.imwrite if extension == "png" else np.save
        write(tmp_path / f"{k}.{extension}", v[k])
    source = open_images(tmp_path, axes="HWC")
    times = []
    for seed in range(6):
        start = time.perf_counter()
        crops(source, 32, 128, generator(seed))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1


def test_the_boxes_tell_where_windows_came_from_and_how_they_turned():
    source = MemorySource({"a": coordinates(10, 12), "b": 100 + coordinates(9, 9)})
    boxes = draw_boxes(source, 32, 5, generator(4))
    x = read_boxes(source, boxes)
    assert torch.equal(x, crops(source, 32, 5, generator(4)))
    for one, i, top, left, turn in zip(x, *boxes[:4]):
        part = source.read(int(i))[:, top : top + 5, left : left + 5].rot90(int(turn) % 4, (1, 2))
        assert torch.equal(one, part.flip(2) if turn >= 4 else part)
    assert len(boxes.turns.unique()) == 8
