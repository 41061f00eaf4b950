"""No two images get one output name, whatever the files are called and wherever the output lies."""

import os
import sys

import numpy as np
import pytest

from unveil.data import MemorySource, open_images, save_image
from unveil.data.names import unique_stems
from unveil.errors import UnveilError

IMAGE = np.zeros((6, 7), np.float32)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows forbids these names")
def test_two_inputs_never_get_one_output_name(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    files = [
        "a b.npy",
        "a_b.npy",
        "a:b.npy",
        "a?b.npy",
        "A_B.npy",
        "a[1].npy",
        "...npy",
        "x. .npy",
        "con.npy",
        "a\nb.npy",
    ]
    files += ["..x.npy"[1:], "é.npy", "e\u0301.npy", "ß.npy", "ss.npy", f"{'é' * 125}.npy", f"{'é' * 124}e.npy"]
    files += [os.fsdecode(b"\xff.npy"), os.fsdecode(b"\xfe.npy")]
    written = [file for file in files if not file.startswith(".")]
    for file in written:
        np.save(data / file, IMAGE)
    source = open_images(data)
    names = [source.name(i) for i in range(len(source))]
    assert len(names) == len(written)
    assert len({name.casefold() for name in names}) == len(names)
    for i, name in enumerate(names):
        assert not set(name) & set('<>:"/\\|?*\n')
        assert name == name.strip(" .") != ""
        assert len(name.encode()) < 200
        save_image(out / f"{name}.tif", source.read(i))
    assert len(list(out.iterdir())) == len(names)
    assert {"a b", "a[1]", "_con"} <= set(names)


def test_stems():
    names = ["a b", "a_b", "a:b", "../../etc", "..", "", " .x. ", "NUL.txt", "Å", "\u212b", "a_b_2", "\x1b[31m"]
    assert unique_stems(names) == [
        "a b", "a_b", "a_b_2", "_.._etc", "image", "image_2", "x", "_NUL.txt", "Å", "\u212b_2", "a_b_2_2", "_[31m",
    ]  # fmt: skip


def test_names_in_memory_are_stems():
    source = MemorySource({"../a": torch_image(), "..": torch_image()})
    assert [source.name(i) for i in range(2)] == ["_a", "image"]


def torch_image():
    import torch

    return torch.zeros(1, 6, 7)


def test_an_error_is_one_line_whatever_a_file_is_called():
    assert str(UnveilError("a\nb\x1b[31m.tif is no image")) == "a\\nb\\x1b[31m.tif is no image"
