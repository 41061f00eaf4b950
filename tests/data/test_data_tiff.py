"""TIFF as instruments and viewers write it: byte order, tags that turn pixels, pages that are no images, many pages."""

import contextlib
import os

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from unveil.data import limits, open_images
from unveil.errors import UnveilError, UnveilWarning

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 200, (13, 17), dtype=np.uint8)
RGB = RNG.integers(0, 200, (13, 17, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(13, 17), (4, 13, 17)])
def test_big_endian_reads_as_its_little_endian_twin(tmp_path, dtype, shape):
    v = RNG.integers(0, 120, shape).astype(dtype)
    for order in "<>":
        imagej = dtype in ("u1", "u2", "f4")
        axes = {"axes": "TYX"[-v.ndim :]}
        path = tmp_path / f"{order}.tif"
        tifffile.imwrite(path, v, byteorder=order, imagej=imagej, photometric="minisblack", metadata=axes)
    little, big = open_images(tmp_path / "<.tif"), open_images(tmp_path / ">.tif")
    top = np.iinfo(dtype).max if v.dtype.kind in "iu" else 1
    for i, expected in enumerate(v.reshape(-1, 13, 17)):
        np.testing.assert_array_equal(big.read(i), little.read(i))
        np.testing.assert_allclose(big.read(i)[0], expected / top, rtol=1e-6)
        np.testing.assert_array_equal(big.read(i, (2, 3, 4, 5)), little.read(i)[:, 2:6, 3:8])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("u2", 65535), ("i2", -1)])
def test_white_is_least(tmp_path, compression, dtype, top):
    v = RNG.integers(0, 120, (13, 17)).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", v, photometric="miniswhite", compression=compression)
    source = open_images(tmp_path / "x.tif", value_range=(0, 1))
    np.testing.assert_array_equal(source.read(0)[0], np.float32(top) - v)
    np.testing.assert_array_equal(source.read(0, (2, 3, 4, 5)), source.read(0)[:, 2:6, 3:8])
    if dtype == "u1":
        np.testing.assert_array_equal(source.read(0)[0], np.asarray(Image.open(tmp_path / "x.tif")))  # a viewer's


def test_white_is_least_has_no_meaning_for_floating_point(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.ones((13, 17), np.float32), photometric="miniswhite")
    with pytest.raises(UnveilError, match=r"x\.tif declares its least value white"):
        open_images(tmp_path / "x.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_is_turned_as_a_viewer_turns_it(tmp_path, orientation, compression):
    for name, v, kind in [("grey", GREY, "minisblack"), ("rgb", RGB, "rgb")]:
        path = tmp_path / f"{name}.tif"
        tag = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(path, v, photometric=kind, compression=compression, extratags=tag, metadata=None)
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(v).save(tmp_path / "x.png", exif=exif)  # a viewer's idea of the tag
        shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "x.png")))
        assert shown.shape[:2] == ((13, 17) if orientation < 5 else (17, 13))
        assert_shown(open_images(path), shown)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_exif_turns_jpeg_and_png(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    for v in (GREY, RGB):
        Image.fromarray(v).save(tmp_path / name, exif=exif, quality=95)
        assert_shown(open_images(tmp_path / name), np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name))))


def assert_shown(source, shown):
    expected = np.atleast_3d(shown).transpose(2, 0, 1).astype(np.float32) / 255
    assert source.shape(0) == expected.shape
    np.testing.assert_array_equal(source.read(0), expected)
    np.testing.assert_array_equal(source.read(0, (2, 3, 4, 5)), expected[:, 2:6, 3:8])


def test_exif_behind_the_pixels_of_a_png(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "x.png"
    Image.fromarray(GREY).save(path, exif=exif)
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    assert_shown(open_images(path), np.rot90(GREY, -1))
    path.write_bytes(data[:start] + data[end:])
    assert open_images(path).shape(0) == (1, 13, 17)


def test_labels_thumbnails_and_masks_are_no_images(tmp_path):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        for k in range(3):
            file.write(GREY + k, photometric="minisblack")
        file.write(GREY[:4, :9], photometric="minisblack", subfiletype=1)
        file.write(GREY > 100, subfiletype=4, photometric="mask")
        file.write(RGB, photometric="rgb", metadata={"name": "Macro image"})
    with pytest.warns(UnveilWarning, match=r"x\.tif: 3 of its pages are labels, macros, thumbnails or masks"):
        source = open_images(path)
    assert [round(source.read(i)[0, 0, 0].item() * 255) for i in range(len(source))] == [
        GREY[0, 0] + k for k in range(3)
    ]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_mask_in_the_middle_of_pages_like_it(tmp_path, compression, bigtiff, order):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=order) as file:
        for k in range(10):
            file.write(GREY + k, photometric="minisblack", subfiletype=2, metadata=None, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as file:
        for k in (3, 8):
            file.pages[k].tags[254].overwrite(4)
    with pytest.warns(UnveilWarning, match="2 of its pages"):
        source = open_images(path)
    assert len(source) == 8
    np.testing.assert_allclose(source.read(3)[0] * 255, GREY + 4, rtol=1e-6)


def test_reduced_images_alone_are_images(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", GREY, photometric="minisblack", subfiletype=1)
    assert len(open_images(tmp_path / "x.tif")) == 1


def test_of_a_pyramid_level_0_is_the_image(tmp_path):
    big = RNG.integers(0, 255, (64, 96), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "subifds.tif") as file:
        file.write(big, photometric="minisblack", subifds=2)
        file.write(big[::2, ::2], photometric="minisblack", subfiletype=1)
        file.write(big[::4, ::4], photometric="minisblack", subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        file.write(big, photometric="minisblack", metadata=None)
        file.write(big[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    for name in ("subifds.tif", "pages.tif"):
        source = open_images(tmp_path / name)
        assert [source.shape(i) for i in range(len(source))] == [(1, 64, 96)]


def test_pages_of_half_the_size_that_no_file_calls_reduced_are_images(tmp_path):
    Image.fromarray(GREY[:12, :16]).save(
        tmp_path / "x.tif", save_all=True, append_images=[Image.fromarray(GREY[:6, :8])]
    )
    source = open_images(tmp_path / "x.tif")
    assert [source.shape(i) for i in range(2)] == [(1, 12, 16), (1, 6, 8)]
    np.testing.assert_array_equal(source.read(1)[0] * 255, GREY[:6, :8])


def test_one_page_of_many_differs(tmp_path):
    pages = [Image.fromarray(GREY if k != 4 else GREY[:7]) for k in range(12)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    source = open_images(tmp_path / "x.tif")
    assert sorted(source.shape(i)[1] for i in range(len(source))) == [7] + [13] * 11


def test_pages_of_mixed_kinds_are_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(GREY, photometric="minisblack")
        file.write(RGB, photometric="rgb")
    with pytest.raises(UnveilError, match=r"x\.tif:page 0 has 1 channel and .*x\.tif:page 1 3: keep"):
        open_images(tmp_path / "x.tif")


def test_the_last_page_costs_what_the_first_does(tmp_path, monkeypatch):
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        for k in range(300):
            file.write(GREY + k % 50, photometric="minisblack", metadata=None, compression="zlib")
    source = open_images(path)
    assert len(source) == 300
    reads, read = [], tifffile.FileHandle.read
    monkeypatch.setattr(tifffile.FileHandle, "read", lambda *args: reads.append(args) or read(*args))
    costs = []
    for k in (1, 299):
        reads.clear()
        np.testing.assert_array_equal(source.read(k)[0] * 255, GREY + k % 50)
        costs.append(len(reads))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", ["x.npy", "x.tif"])
def test_a_file_cut_while_it_is_mapped(tmp_path, name):
    v = RNG.normal(size=(4, 128, 128)).astype(np.float32)
    path = tmp_path / name
    np.save(path, v) if name == "x.npy" else tifffile.imwrite(path, v, photometric="minisblack")
    source = open_images(path)
    np.testing.assert_array_equal(source.read(3)[0], v[3])
    os.truncate(path, 70_000)
    with pytest.raises(
        UnveilError, match=rf"{name} \(image 3\) cannot be read .*cut to 70000 bytes while it was in use"
    ):
        source.read(3)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_cut_before_it_is_opened(tmp_path, compression):
    v = RNG.integers(0, 255, (3, 64, 64), dtype=np.uint8)
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as file:
        for image in v:
            file.write(image, photometric="minisblack", metadata=None, compression=compression)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last, entry = file.pages[2].dataoffsets[0], file.pages[2].offset
    path.write_bytes(whole[: last + 100])
    with pytest.raises(UnveilError, match=r"x\.tif.* cannot be read: its data end at byte \d+ and the file at \d+"):
        open_images(path)
    for cut in (entry, entry + 40):  # before the entry of the third page, and within it
        path.write_bytes(whole[:cut])
        with (
            pytest.warns(UnveilWarning, match="the list of its pages breaks off after"),
            contextlib.suppress(UnveilError),
        ):
            assert len(open_images(path)) == 2


def test_a_part_that_was_never_written(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack", compression="zlib", rowsperstrip=5)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[279].overwrite([0, *file.pages[0].databytecounts[1:]])
    with pytest.raises(UnveilError, match="no data for 1 of the 3 parts"):
        open_images(path)


@pytest.mark.parametrize("name", ["x.tif", "x.png"])
def test_gigabytes_from_kilobytes(tmp_path, monkeypatch, name):
    flat = np.zeros((4096, 4096), np.uint8)
    monkeypatch.setattr(limits, "SUSPICIOUS_GIB", 0.01)
    if name == "x.tif":
        tifffile.imwrite(tmp_path / name, flat, photometric="minisblack", compression="zlib")
    else:
        Image.fromarray(flat).save(tmp_path / name)
    with pytest.raises(UnveilError, match=rf"{name} declares 0\.0156 GiB in .* MiB, .*UNVEIL_LIMIT_GIB=1"):
        open_images(tmp_path / name)
    monkeypatch.setenv("UNVEIL_LIMIT_GIB", "1")
    assert open_images(tmp_path / name).shape(0) == (1, 4096, 4096)


def test_a_png_larger_than_pillow_would_open(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    np.testing.assert_array_equal(open_images(tmp_path / "x.png").read(0)[0] * 255, GREY)
    assert Image.MAX_IMAGE_PIXELS == 20


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.tif", b"\xff\xd8\xff\xe0" + bytes(200), r"is a JPEG by its content: name it \.jpg"),
        ("x.png", b"II*\0" + bytes(200), r"is a TIFF by its content: name it \.tif"),
        ("x.npy", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("x.TIF", b"/annex/objects/SHA256E-s3", "git annex get"),
        ("x.jpg", b"<!DOCTYPE html><html>", "a web page"),
        ("x.PNG", b"", "empty, 0 bytes"),
    ],
)
def test_a_file_whose_extension_lies(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnveilError, match=rf"{name} cannot be read: it .*{words}"):
        open_images(tmp_path / name)
