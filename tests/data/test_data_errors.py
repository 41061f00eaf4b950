"""What cannot be read is refused in one line that says where and what to do."""

import struct
import zlib

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
import zarr

from unveil.data import MemorySource, open_images
from unveil.errors import UnveilError

GREY = np.zeros((6, 7), np.uint8)
RGB = np.zeros((6, 7, 3), np.uint8)


def refused(path, *words, read=False, **arguments):
    """Opens (and reads) `path`; the error must be one line that contains all words."""

    def attempt():
        source = open_images(path, **arguments)
        for i in range(len(source) if read else 0):
            source.read(i)

    with pytest.raises(UnveilError) as caught:
        attempt()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message


def test_path_and_folder(tmp_path):
    refused(tmp_path / "none", tmp_path / "none", "does not exist")
    refused(tmp_path, tmp_path, "is empty")
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path, tmp_path, "no image", ".png")
    refused(tmp_path / "notes.txt", tmp_path / "notes.txt", "extension", ".png")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.npy", "x.h5"])
@pytest.mark.parametrize("content", [b"", b"this is not an image\n" * 20])
def test_corrupt_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, tmp_path / name, "cannot be read")
    iio.imwrite(tmp_path / "a.png", GREY)
    refused(tmp_path, tmp_path / name, "cannot be read")


def test_corrupt_zarr(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    refused(tmp_path / "x.zarr", tmp_path / "x.zarr", "cannot be read")


@pytest.mark.parametrize("name", ["x.png", "x.npy", "z.tif", "x.tif"])
def test_truncated_file(tmp_path, name):
    v = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    path = tmp_path / name
    if name.endswith(".tif"):
        tifffile.imwrite(path, v, compression="zlib" if name == "z.tif" else None)
    elif name.endswith(".npy"):
        np.save(path, v)
    else:
        iio.imwrite(path, v)
    path.write_bytes(path.read_bytes()[:4000])
    refused(path, path, "cannot be read", read=True)


def test_number_of_axes(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(5))
    refused(tmp_path / "x.npy", "x.npy", "(5,)")
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 6, 7)))
    refused(tmp_path / "x.npy", "x.npy", "(2, 5, 6, 7)", "pass axes")
    np.save(tmp_path / "x.npy", np.zeros((128, 120, 3)))
    words = ("128 images of 120 x 3 pixels", "is the last axis colour?", 'axes="HWC"', "--set data.axes=HWC")
    refused(tmp_path / "x.npy", "x.npy", *words)
    assert open_images(tmp_path / "x.npy", axes="HWC").shape(0) == (3, 128, 120)
    assert open_images(tmp_path / "x.npy", axes="NHW").shape(0) == (1, 120, 3)
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 6, 7, 3)))
    refused(tmp_path / "x.npy", "x.npy", "pass axes")
    refused(tmp_path / "x.npy", "x.npy", 'axes="NHW"', "3 axes", "has 5", axes="NHW")
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 6, 7, 2)))
    refused(tmp_path / "x.npy", "x.npy", "(2, 5, 6, 7, 2)", "Save a[..., 0] + 1j * a[..., 1]")
    np.save(tmp_path / "x.npy", np.zeros((0, 6, 7)))
    refused(tmp_path / "x.npy", "x.npy", "empty")
    iio.imwrite(tmp_path / "x.png", RGB)
    refused(tmp_path / "x.png", "x.png", 'axes="HW"', axes="HW")


@pytest.mark.parametrize("axes", ["NH", "HWX", "NHHW", "CCHW", ""])
def test_axes_letters(tmp_path, axes):
    np.save(tmp_path / "x.npy", np.zeros((2, 6, 7)))
    if axes:
        refused(tmp_path / "x.npy", "axes", axes, "H and W once", axes=axes)
    else:
        assert len(open_images(tmp_path / "x.npy", axes=axes)) == 2


@pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1), (1,), 3, ("a", "b")])
def test_value_range(tmp_path, value_range):
    iio.imwrite(tmp_path / "x.png", GREY)
    refused(tmp_path / "x.png", "value_range", value_range=value_range)


def test_mixed_channels_name_both_files(tmp_path):
    iio.imwrite(tmp_path / "a.png", GREY)
    iio.imwrite(tmp_path / "b.png", RGB)
    refused(tmp_path, tmp_path / "a.png", tmp_path / "b.png", "1 channel and", "b.png 3: keep")


def test_types(tmp_path):
    for v, word in [
        (np.zeros((6, 7), bool), "true/false"),
        (np.full((6, 7), "a"), "not numbers"),
        (np.zeros((6, 7), [("a", "f4")]), "not numbers"),
    ]:
        np.save(tmp_path / "x.npy", v)
        refused(tmp_path / "x.npy", tmp_path / "x.npy", word)
    np.save(tmp_path / "x.npy", np.array([[None]]), allow_pickle=True)
    refused(tmp_path / "x.npy", tmp_path / "x.npy", "cannot be read")
    np.save(tmp_path / "x.npy", np.zeros((3, 6, 7), np.complex64))
    refused(tmp_path / "x.npy", tmp_path / "x.npy", "3 channels", "axes", axes="CHW")
    iio.imwrite(tmp_path / "x.png", np.eye(6, dtype=bool))
    refused(tmp_path / "x.png", tmp_path / "x.png", "true/false")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(tmp_path, bad):
    v = np.zeros((3, 6, 7), np.float32)
    v[2, 3, 4] = bad
    np.save(tmp_path / "x.npy", v)
    refused(
        tmp_path,
        tmp_path / "x.npy",
        "image 2",
        "NaN or infinite values",
        "mask or replace them (images with holes: unveil init inpainting",
        read=True,
    )
    source = open_images(tmp_path)
    source.read(2, (0, 0, 3, 7))  # outside the window
    with pytest.raises(UnveilError, match="NaN or infinite"):
        source.subset([2]).read(0, (3, 4, 1, 1))
    np.save(tmp_path / "x.npy", np.full((6, 7), 1e300))
    refused(tmp_path, "x.npy", "NaN or infinite", read=True)


def test_datasets(tmp_path):
    h5, group = tmp_path / "x.h5", tmp_path / "x.zarr"
    with h5py.File(h5, "w") as file:
        file["a"], file["g/b"], file["t"] = np.zeros((2, 6, 7)), np.zeros((6, 7)), np.zeros(3)
    node = zarr.open_group(group, mode="w")
    node.create_array("a", data=np.zeros((2, 6, 7)))
    node.create_array("g/b", data=np.zeros((6, 7)))
    for path in (h5, group):
        refused(path, path, "pass dataset", "a (2, 6, 7), g/b (6, 7)")
        refused(path, path, "no dataset 'c'", "a (2, 6, 7), g/b (6, 7)", dataset="c")
    refused(h5, h5, "(3,)", dataset="t")
    with h5py.File(h5, "w") as file:
        file["t"] = np.zeros(3)
    refused(h5, h5, "no array of numbers")
    array = tmp_path / "array.zarr"
    zarr.save_array(array, np.zeros((6, 7)))
    refused(array, array, "leave dataset out", dataset="a")
    np.save(tmp_path / "x.npy", GREY)
    refused(tmp_path / "x.npy", "x.npy", "leave dataset out", dataset="a")


def test_transparency(tmp_path):
    path = tmp_path / "x.png"
    v = np.full((6, 7, 4), 255, np.uint8)
    v[2, 3, 3] = 254
    iio.imwrite(path, v)
    refused(path, path, "partly transparent", read=True)
    iio.imwrite(path, RGB, transparency=(0, 0, 0))
    refused(path, path, "transparent colours")
    iio.imwrite(tmp_path / "x.jpg", v, mode="CMYK")
    refused(tmp_path / "x.jpg", "CMYK")
    tifffile.imwrite(tmp_path / "x.tif", v, photometric="rgb")
    refused(tmp_path / "x.tif", "x.tif", "alpha")


def test_16_bit_colour_png(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(13)))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    refused(tmp_path / "x.png", tmp_path / "x.png", "16-bit", "TIFF")


def test_tiff_that_needs_more(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, GREY, photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    refused(path, path, "palette")
    iio.imwrite(path, GREY, plugin="pillow", compression="tiff_lzw")
    if 5 not in tifffile.TIFF.DECOMPRESSORS:
        refused(path, path, "LZW", "imagecodecs")
    tifffile.imwrite(path, np.zeros((2, 3, 2, 6, 7, 3), np.uint8), photometric="rgb", metadata={"axes": "TZCYXS"})
    refused(path, path, "TZCYXS", "pass axes")


def test_indices_and_windows(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 6, 7), np.float32))
    source = open_images(tmp_path)
    for i in (-1, 2):
        with pytest.raises(UnveilError, match=f"no image {i}"):
            source.read(i)
    for window in [(0, 0, 7, 7), (0, 1, 6, 7), (-1, 0, 2, 2), (0, 0, 0, 2)]:
        with pytest.raises(UnveilError, match="not inside the image of 6x7"):
            source.read(0, window)
    for indices, word in [([], "no image"), ([2], "no image 2"), ([1, 1], "twice")]:
        with pytest.raises(UnveilError, match=word):
            source.subset(indices)


def test_file_that_changes(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((6, 7), np.float32))
    source = open_images(tmp_path)
    np.save(tmp_path / "x.npy", np.zeros((5, 7), np.float32))
    with pytest.raises(UnveilError, match=r"x\.npy has changed since it was opened"):
        source.read(0)
    (tmp_path / "x.npy").unlink()
    source._cache._open.clear()
    with pytest.raises(UnveilError, match=r"x\.npy \(image 0\) cannot be read"):
        source.read(0)


@pytest.mark.parametrize(
    "images",
    [
        {},
        {"a": torch.zeros(6, 7)},
        {"a": torch.zeros(1, 6, 7, dtype=torch.uint8)},
        {"a": torch.zeros(1, 6, 7), "b": torch.zeros(3, 6, 7)},
    ],
)
def test_memory_source(images):
    with pytest.raises(UnveilError):
        MemorySource(images)
