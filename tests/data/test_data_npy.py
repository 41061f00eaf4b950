"""Headers of .npy that promise what the file does not hold."""

import struct

import numpy as np
import pytest

from unveil.data import open_images
from unveil.errors import UnveilError


def written(path, header, version=(1, 0), content=bytes(400)):
    text = header.encode()
    path.write_bytes(
        b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + content
    )
    return path


def header(descr="'<f4'", shape="(10, 10)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header(shape="(1000000, 1000, 1000)"), "declares 4,000,000,000,000 bytes"),
        (header(shape="(" + "9" * 400 + ",)"), "declares"),
        (header(shape="(-1, 10)"), "cannot be read"),
        (header(shape="(True, 10)"), "no image|cannot be read|pass axes|declares"),
        (header(shape="'text'"), "header"),
        (header("'|O'"), "Python objects"),
        (header("[('a', '|O')]"), "Python objects"),
        (header("[('a', '<f4'), ('b', '<f4')]", "(5, 10)"), "not numbers"),
        (header("'<M8[s]'", "(5, 10)"), "not numbers"),
        (header("'no type'"), "header"),
        (header(shape="(" * 90 + ")" * 90), "header"),
        ("-" * 9000 + "1", "header"),
        ("{" * 150, "header"),
        ("not a header", "header"),
        (header(shape="(0, 10)"), "empty"),
    ],
)
def test_headers(tmp_path, content, words):
    with pytest.raises(UnveilError, match=words) as caught:
        open_images(written(tmp_path / "x.npy", content))
    assert "x.npy" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_other_files_of_numpy(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.savez(file, a=np.zeros((3, 4)))
    with pytest.raises(UnveilError, match="archive of arrays"):
        open_images(tmp_path / "x.npy")
    with open(tmp_path / "y.npy", "wb") as file:
        np.lib.format.write_array(file, np.eye(4, dtype="f4"), version=(2, 0))
    assert open_images(tmp_path / "y.npy").read(0)[0].tolist() == np.eye(4).tolist()
    np.save(tmp_path / "z.npy", np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    assert open_images(tmp_path / "z.npy").read(0)[0, 1].tolist() == [4, 5, 6, 7]


def test_too_many_and_too_large(tmp_path, monkeypatch):
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "u1", (2_000_000, 16, 16))
    with pytest.raises(UnveilError, match="2,000,000 images"):
        open_images(tmp_path / "x.npy")
    monkeypatch.setenv("UNVEIL_LIMIT_GIB", "0.001")
    np.save(tmp_path / "y.npy", np.zeros((2000, 2000), "f4"))
    with pytest.raises(UnveilError, match=r"an image of .*GiB"):
        open_images(tmp_path / "y.npy")
