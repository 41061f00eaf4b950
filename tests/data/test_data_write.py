"""Files that are written come back, and a write that fails leaves what was there."""

import errno
import os
import stat
import sys

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from unveil.data import atomic_write, open_images, save_image
from unveil.errors import UnveilError


def image(channels):
    return torch.randn(channels, 7, 9, generator=torch.Generator().manual_seed(channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["x.tif", "x.TIFF"])
def test_tiff_round_trip(tmp_path, channels, name):
    save_image(tmp_path / name, image(channels))
    source = open_images(tmp_path / name)
    assert (len(source), source.channels) == (1, channels)
    assert torch.equal(source.read(0), image(channels))
    assert torch.equal(source.read(0, (1, 2, 3, 4)), image(channels)[:, 1:4, 2:6])


@pytest.mark.parametrize("channels", [1, 3])
def test_npy_round_trip(tmp_path, channels):
    save_image(tmp_path / "x.npy", image(channels).requires_grad_())
    assert torch.equal(open_images(tmp_path / "x.npy", axes="CHW").read(0), image(channels))
    assert np.load(tmp_path / "x.npy").dtype == np.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_png_clips_and_rounds(tmp_path, channels):
    x = image(channels) * 2
    save_image(tmp_path / "x.png", x, value_range=(-1, 2))
    expected = ((x + 1) / 3).clamp(0, 1)
    assert iio.imread(tmp_path / "x.png").shape == ((7, 9) if channels == 1 else (7, 9, 3))
    assert (open_images(tmp_path / "x.png").read(0) - expected).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("channels", [2, 4])
def test_png_channels(tmp_path, channels):
    with pytest.raises(UnveilError, match=rf"x\.png.* has {channels}: save as \.tif"):
        save_image(tmp_path / "x.png", image(channels))


def test_refusals(tmp_path):
    for x, name, words in [
        (image(1)[0], "x.png", r"\(7, 9\)"),
        (image(1).to(torch.complex64), "x.tif", "complex64"),
        (image(1), "x.bmp", "extension"),
        (image(1) / 0, "x.png", "NaN or infinite"),
    ]:
        with pytest.raises(UnveilError, match=words):
            save_image(tmp_path / name, x)
    with pytest.raises(UnveilError, match="value_range"):
        save_image(tmp_path / "x.png", image(1), value_range=(1, 0))
    with pytest.raises(UnveilError, match=r"none.x\.png cannot be written"):
        save_image(tmp_path / "none" / "x.png", image(1))
    assert list(tmp_path.iterdir()) == []


def full_disk(path):
    path.write_bytes(b"half a fi")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(path):
    path.write_bytes(b"half a fi")
    raise KeyboardInterrupt


def test_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(UnveilError, match=r"x\.txt cannot be written \(No space left on device\)") as caught:
        atomic_write(path, full_disk)
    assert "\n" not in str(caught.value)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, interrupted)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    atomic_write(path, lambda temporary: temporary.write_text("new") and None)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.npy"])
def test_save_image_on_a_full_disk(tmp_path, monkeypatch, name):
    save_image(tmp_path / name, image(1))
    before = (tmp_path / name).read_bytes()

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UnveilError, match=r"cannot be written \(No space left"):
        save_image(tmp_path / name, image(1) + 1)
    assert (tmp_path / name).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="hardware: POSIX permissions")
def test_others_may_read_what_the_umask_allows(tmp_path):
    (tmp_path / "plain").write_text("x")
    save_image(tmp_path / "x.npy", image(1))
    assert stat.S_IMODE((tmp_path / "x.npy").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
