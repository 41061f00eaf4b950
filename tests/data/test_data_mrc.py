"""MRC against the array that was written: modes, stacks, windows, byte order, laziness, and what is refused."""

import pickle
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
import torch

from unveil.data import open_images
from unveil.errors import UnveilError, UnveilWarning

RNG = np.random.default_rng(0)
STACK = RNG.normal(size=(4, 13, 17)).astype(np.float32)
COUNTS = RNG.integers(-100, 100, (4, 13, 17))


def write(path, v):
    with mrcfile.new(path) as file:
        file.set_data(v)
    return path


@pytest.mark.parametrize(
    ("v", "expected"),
    [
        (COUNTS.astype(np.int8), COUNTS / 127),  # mode 0
        (COUNTS.astype(np.int16), COUNTS / 32767),  # mode 1
        (STACK, STACK),  # mode 2
        (np.abs(COUNTS).astype(np.uint16), np.abs(COUNTS) / 65535),  # mode 6
        (STACK.astype(np.float16), STACK.astype(np.float16)),  # mode 12
    ],
    ids=lambda v: str(v.dtype),
)
def test_a_stack_of_each_mode(tmp_path, v, expected):
    source = open_images(write(tmp_path / "particles.mrcs", v))
    assert (len(source), source.channels, source.shape(3)) == (4, 1, (1, 13, 17))
    assert [source.name(i) for i in (0, 3)] == ["particles_0000", "particles_0003"]
    for i in range(4):
        assert source.read(i).dtype == torch.float32
        np.testing.assert_allclose(source.read(i)[0], expected[i], rtol=1e-6, atol=0)
    np.testing.assert_array_equal(source.read(2, (3, 4, 5, 6)), source.read(2)[:, 3:8, 4:10])


def test_counts_on_the_scale_that_the_user_names(tmp_path):
    source = open_images(write(tmp_path / "x.mrc", COUNTS.astype(np.int16)), value_range=(0, 40))
    np.testing.assert_allclose(source.read(1)[0], COUNTS[1] / 40, rtol=1e-6)


def test_complex_images_have_two_channels(tmp_path):
    v = (STACK + 2j * STACK[::-1]).astype(np.complex64)
    source = open_images(write(tmp_path / "x.mrc", v))
    np.testing.assert_array_equal(source.read(1), np.stack([v[1].real, v[1].imag]))


def test_one_micrograph_beside_stacks_and_other_formats(tmp_path):
    write(tmp_path / "a.mrc", STACK[0])
    write(tmp_path / "b.mrcs", STACK)
    with mrcfile.open(write(tmp_path / "c.mrcs", STACK[:1]), "r+") as file:
        file.set_image_stack()
    np.save(tmp_path / "d.npy", STACK[2])
    for axes in (None, "NHW"):
        folder = open_images(tmp_path / "a.mrc", axes=axes)
        assert (len(folder), folder.shape(0), folder.name(0)) == (1, (1, 13, 17), "a")
    source = open_images(tmp_path)
    assert len(source) == 7
    for i, k in enumerate([0, 0, 1, 2, 3, 0, 2]):
        np.testing.assert_array_equal(source.read(i)[0], STACK[k])


def test_a_stack_of_volumes_is_a_stack_of_slices(tmp_path):
    volumes = RNG.normal(size=(2, 3, 5, 6)).astype(np.float32)
    source = open_images(write(tmp_path / "x.mrc", volumes))
    assert len(source) == 6
    np.testing.assert_array_equal(source.read(4)[0], volumes[1, 1])


def test_either_byte_order_and_an_extended_header(tmp_path):
    with mrcfile.new(tmp_path / "x.mrc") as file:
        file.set_data(STACK.astype(">f4"))
        file.set_extended_header(np.zeros(160, "V1"))
    assert mrcfile.open(tmp_path / "x.mrc", header_only=True).header.mode.dtype.byteorder == ">"
    source = open_images(tmp_path / "x.mrc")
    np.testing.assert_array_equal(source.read(3)[0], STACK[3])
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(2), source.read(2))


LAZY = """
import resource, sys
from unveil.data import open_images
assert "mrcfile" not in sys.modules
import mrcfile, torch
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
source = open_images(sys.argv[1])
assert len(source) == 16
assert source.read(9, (5, 6, 64, 64)).abs().max() == 0
print(peak() - before)
"""


def test_a_window_of_a_huge_stack_needs_little_memory(tmp_path):
    mrcfile.new_mmap(
        tmp_path / "x.mrcs", shape=(16, 4096, 4096), mrc_mode=2
    ).close()  # 1 GB, of which nothing is on the disk
    run = subprocess.run([sys.executable, "-c", LAZY, str(tmp_path / "x.mrcs")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 50e6


def patched(path, *changes):
    content = bytearray(path.read_bytes())
    for offset, new in changes:
        content[offset : offset + len(new)] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([(212, b"\x44\0\0\0")], "machine stamp"),
        ([(208, b"\0\0\0\0")], "Map ID"),
        ([(208, bytes(8))], "Map ID"),
    ],
)
def test_older_headers_are_read_with_a_warning(tmp_path, changes, words):
    path = patched(write(tmp_path / "x.st", STACK), *changes)
    with pytest.warns(UnveilWarning, match=rf"headers are not by the standard here \(.*{words}") as caught:
        source = open_images(path)
    assert len(caught) == 1
    assert len(source) == 4
    np.testing.assert_array_equal(source.read(3)[0], STACK[3])


def test_a_big_endian_file_with_the_stamp_of_another(tmp_path):
    path = patched(write(tmp_path / "x.rec", STACK.astype(">f4")), (212, b"\x44\x44\0\0"))
    with pytest.warns(UnveilWarning, match="byte order"):
        source = open_images(path)
    np.testing.assert_array_equal(source.read(3)[0], STACK[3])


@pytest.mark.parametrize(("flags", "signed"), [(0, False), (1, True), (4, False)])
def test_imod_says_whether_bytes_are_signed(tmp_path, flags, signed):
    v = RNG.integers(0, 256, (4, 13, 17)).astype(np.uint8)
    path = patched(write(tmp_path / "x.ali", v.view(np.int8)), (152, b"IMOD" + flags.to_bytes(4, "little")))
    expected = v.view(np.int8) / 127 if signed else v / 255
    np.testing.assert_allclose(open_images(path).read(2)[0], expected[2], rtol=1e-6)


def refused(path, *words):
    with pytest.raises(UnveilError) as caught:
        open_images(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (path, *words):
        assert str(word) in message, message


def test_what_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.mrc"
    for content in (b"", b"this is not an image\n" * 100):
        path.write_bytes(content)
        refused(path, "cannot be read")
    whole = write(tmp_path / "y.mrc", STACK).read_bytes()
    path.write_bytes(whole[:3000])
    refused(path, "cannot be read", "truncated")
    path.write_bytes(whole[:12] + (101).to_bytes(4, "little") + whole[16:])
    refused(path, "cannot be read", "mode '101'")
    path.write_bytes(whole[:92] + (2**30).to_bytes(4, "little") + whole[96:])
    refused(path, "cannot be read", "1,073,741,824 bytes of extended header")
    path.write_bytes(bytes(2048))
    refused(path, "cannot be read")
    path.write_bytes(whole[:200] + bytes(20) + whole[220:3000])
    refused(path, "cannot be read")
    path.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    refused(path, "needs the mrcfile package", "pip install 'unveil[cryoem]'")
