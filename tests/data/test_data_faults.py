"""What goes wrong outside a file is not blamed on it: the advice fits the fault, and nothing is passed over unsaid."""

import errno
import os
import sys

import numpy as np
import pytest
import tifffile

from unveil.data import open_images
from unveil.data.faults import unreadable
from unveil.errors import UnveilError, UnveilWarning

IMAGE = np.arange(42, dtype=np.float32).reshape(6, 7)


def wrapped(inner, outer):
    try:
        raise outer from inner
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "check its permissions"),
        (wrapped(PermissionError(errno.EACCES, "Permission denied"), ValueError("no image")), "check its permissions"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), "close it there"),
        (OSError("Unable to open file (unable to lock file, errno = 11)"), "close it there"),
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (OSError(errno.EIO, "Input/output error"), "check the drive"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "put it back"),
        (ModuleNotFoundError("No module named 'numcodecs.zfpy'", name="numcodecs.zfpy"), "pip install numcodecs"),
        (ValueError("<COMPRESSION.ZSTD: 50000> requires the 'imagecodecs' package"), "pip install imagecodecs"),
        (MemoryError("Unable to allocate 3.5 GiB"), "3.5 GiB"),
    ],
)
def test_only_a_decoder_speaks_of_damage(error, words):
    message = str(unreadable("x.tif", error))
    assert message.startswith("x.tif cannot be read (")
    assert words in message
    assert "corrupt" not in message
    assert "remove" not in message


def test_a_decoder_speaks_of_damage():
    assert "may be corrupt or truncated; restore it" in str(unreadable("x.png", OSError("image file is truncated")))
    assert "remove" not in str(unreadable("x.png", OSError("image file is truncated")))


@pytest.mark.parametrize("name", ["x.npy", "x.tif"])
def test_a_file_that_may_not_be_read(tmp_path, name, monkeypatch):
    tifffile.imwrite(tmp_path / name, IMAGE) if name == "x.tif" else np.save(tmp_path / name, IMAGE)

    def refuse(*args, **kwargs):  # root may read everything, so permissions alone would not do
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)

    monkeypatch.setattr(tifffile, "TiffFile", refuse)
    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(
        UnveilError, match=rf"{name} cannot be read \(Permission denied\): .*check its permissions"
    ) as e:
        open_images(tmp_path)
    assert "remove" not in str(e.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_to_nothing_are_counted(tmp_path):
    for k in range(4):
        np.save(tmp_path / f"{k}.npy", IMAGE)
        (tmp_path / f"{k + 4}.npy").symlink_to(tmp_path / "annex" / f"{k}")
    (tmp_path / "8.npy").symlink_to("0.npy")
    (tmp_path / "9.npy").symlink_to("9.npy")
    with pytest.warns(
        UnveilWarning, match=r"5 of 10 images in .* are links to nothing, 4\.npy the first: .*git annex get"
    ):
        source = open_images(tmp_path)
    assert [source.name(i) for i in range(len(source))] == ["0", "1", "2", "3", "8"]
    with pytest.raises(UnveilError, match=r"4\.npy is a link to nothing: fetch"):
        open_images(tmp_path / "4.npy")
    for k in (0, 1, 2, 3, 8):
        (tmp_path / f"{k}.npy").unlink()
    with pytest.raises(UnveilError, match=r"5 of 5 images in .* are links to nothing"):
        open_images(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_no_image(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE)
    os.mkfifo(tmp_path / "b.npy")
    assert len(open_images(tmp_path)) == 1
