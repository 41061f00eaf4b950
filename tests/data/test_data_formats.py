"""Every format against the array that was written: values, shapes, axes, ranges, windows, and laziness."""

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
import zarr

from unveil.data import MemorySource, open_images

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 2**16, (4, 13, 17), dtype=np.uint16)
FLOAT = RNG.normal(size=(4, 13, 17)).astype(np.float32)


def write_hdf5(path: Path, v: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("scan/frames", data=v)
        file["scan/time"] = np.arange(3.0)


def write_zarr(path: Path, v: np.ndarray) -> None:
    zarr.open_group(path, mode="w").create_array("frames", data=v)


def write_zarr_array(path: Path, v: np.ndarray) -> None:
    zarr.save_array(path, v)


def write_tiff(path: Path, v: np.ndarray) -> None:
    tifffile.imwrite(path, v, photometric="minisblack")


def write_zlib_tiff(path: Path, v: np.ndarray) -> None:
    tifffile.imwrite(path, v, photometric="minisblack", compression="zlib", rowsperstrip=5)


ARRAY_FORMATS = {
    "stack.npy": np.save,
    "stack.h5": write_hdf5,
    "stack.hdf5": write_hdf5,
    "stack.zarr": write_zarr,
    "array.zarr": write_zarr_array,
    "stack.tif": write_tiff,
    "zlib.tiff": write_zlib_tiff,
}


@pytest.fixture(params=ARRAY_FORMATS)
def write(request, tmp_path):
    """A function from an array to the path of a file of each format that holds it."""

    def inner(v: np.ndarray) -> Path:
        ARRAY_FORMATS[request.param](tmp_path / request.param, v)
        return tmp_path / request.param

    return inner


def stack(source) -> np.ndarray:
    return np.stack([source.read(i).numpy() for i in range(len(source))])


def test_float_stack_passes_unchanged(write):
    source = open_images(write(FLOAT))
    assert (len(source), source.channels, source.shape(3)) == (4, 1, (1, 13, 17))
    assert source.read(0).dtype == torch.float32
    assert source.read(0).is_contiguous()
    np.testing.assert_array_equal(stack(source)[:, 0], FLOAT)


def test_uint16_stack_fills_the_unit_interval(write):
    np.testing.assert_array_equal(stack(open_images(write(DEEP)))[:, 0], DEEP.astype(np.float32) / 65535)


def test_value_range_is_affine_and_does_not_clip(write):
    source = open_images(write(DEEP), value_range=(1000, 3000))
    expected = (DEEP.astype(np.float64) - 1000) / 2000
    np.testing.assert_allclose(stack(source)[:, 0], expected, rtol=1e-5, atol=1e-6)
    assert source.read(0).max() > 1
    assert stack(source).min() < 0


def test_value_range_applies_to_floating_point(write):
    source = open_images(write(FLOAT), value_range=(-1, 3))
    np.testing.assert_allclose(stack(source)[:, 0], (FLOAT + 1) / 4, atol=1e-6)


@pytest.mark.parametrize("v", [FLOAT, DEEP])
def test_windows_equal_slices(write, v):
    source = open_images(write(v))
    for i, (t, left, h, w) in [
        (0, (0, 0, 13, 17)),
        (1, (3, 4, 5, 6)),
        (3, (12, 16, 1, 1)),
        (2, (4, 0, 7, 17)),
    ]:
        expected = source.read(i)[:, t : t + h, left : left + w]
        assert torch.equal(source.read(i, (t, left, h, w)), expected)


def test_a_read_may_be_written_to(write):
    source = open_images(write(FLOAT))
    source.read(1).zero_()
    np.testing.assert_array_equal(source.read(1)[0], FLOAT[1])


def test_pickles_and_reads_on(write):
    source = open_images(write(FLOAT))
    source.read(0)
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(2), source.read(2))


@pytest.mark.parametrize("name", ["x.npy", "x.h5", "x.zarr"])
@pytest.mark.parametrize(
    ("axes", "shape", "order"),
    [
        ("HW", (13, 17), None),
        ("HWC", (13, 17, 3), None),
        ("CHW", (3, 13, 17), None),
        ("NHW", (4, 13, 17), None),
        ("WNH", (17, 4, 13), None),
        ("NCHW", (4, 3, 13, 17), None),
        ("NHWC", (4, 13, 17, 3), None),
        ("CNHW", (5, 4, 13, 17), None),
        ("NCNHW", (2, 3, 2, 13, 17), None),
    ],
)
def test_axes(tmp_path, name, axes, shape, order):
    v = RNG.normal(size=shape).astype(np.float32)
    {"x.npy": np.save, "x.h5": write_hdf5, "x.zarr": write_zarr}[name](tmp_path / name, v)
    source = open_images(tmp_path / name, axes=axes.lower())
    subscripts = [axes.index(a) for a in "CHW" if a in axes]
    moved = v.transpose([k for k, a in enumerate(axes) if a == "N"] + subscripts)
    moved = moved.reshape(-1, shape[axes.index("C")] if "C" in axes else 1, 13, 17)
    assert source.shape(0) == moved.shape[1:]
    np.testing.assert_array_equal(stack(source), moved)
    np.testing.assert_array_equal(source.read(len(moved) - 1, (2, 3, 4, 5)), moved[-1][:, 2:6, 3:8])


@pytest.mark.parametrize("shape", [(4, 13, 17, 2), (4, 2, 13, 17)])
def test_four_axes_by_default(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    source = open_images(tmp_path / "x.npy")
    assert (len(source), source.shape(0)) == (4, (2, 13, 17))


@pytest.mark.parametrize("name", ["x.npy", "x.h5", "x.zarr"])
def test_complex_becomes_real_and_imaginary(tmp_path, name):
    v = (FLOAT + 1j * FLOAT[::-1]).astype(np.complex64)
    {"x.npy": np.save, "x.h5": write_hdf5, "x.zarr": write_zarr}[name](tmp_path / name, v)
    source = open_images(tmp_path / name)
    assert source.channels == 2
    np.testing.assert_array_equal(stack(source), np.stack([v.real, v.imag], 1))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float16", "float64", ">u2", ">f4"])
def test_every_number_type(tmp_path, dtype):
    v = np.array([[0, 1, 2], [100, 120, 127]], dtype=dtype)
    np.save(tmp_path / "x.npy", v)
    top = np.iinfo(dtype).max if v.dtype.kind in "iu" else 1
    np.testing.assert_allclose(open_images(tmp_path / "x.npy").read(0)[0], v.astype(np.float64) / top, rtol=1e-6)


def test_png_grey_colour_and_16_bits(tmp_path):
    iio.imwrite(tmp_path / "grey.png", GREY)
    iio.imwrite(tmp_path / "rgb.png", RGB)
    iio.imwrite(tmp_path / "deep.png", DEEP[0])
    np.testing.assert_array_equal(open_images(tmp_path / "grey.png").read(0)[0], GREY.astype(np.float32) / 255)
    rgb = open_images(tmp_path / "rgb.png")
    assert rgb.shape(0) == (3, 13, 17)
    np.testing.assert_array_equal(rgb.read(0), RGB.transpose(2, 0, 1).astype(np.float32) / 255)
    assert torch.equal(rgb.read(0, (1, 2, 3, 4)), rgb.read(0)[:, 1:4, 2:6])
    deep = open_images(tmp_path / "deep.png").read(0)[0]
    np.testing.assert_array_equal(deep, DEEP[0].astype(np.float32) / 65535)


def test_opaque_alpha_is_dropped(tmp_path):
    opaque = np.full((13, 17, 1), 255, np.uint8)
    iio.imwrite(tmp_path / "rgba.png", np.concatenate([RGB, opaque], -1))
    iio.imwrite(tmp_path / "la.png", np.concatenate([GREY[..., None], opaque], -1), mode="LA")
    source = open_images(tmp_path / "rgba.png")
    assert source.channels == 3
    np.testing.assert_array_equal(source.read(0), RGB.transpose(2, 0, 1).astype(np.float32) / 255)
    source = open_images(tmp_path / "la.png")
    np.testing.assert_array_equal(source.read(0)[0], GREY.astype(np.float32) / 255)


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG"])
def test_jpeg(tmp_path, name):
    smooth = np.broadcast_to(np.linspace(0, 255, 64)[:, None, None], (64, 48, 3)).astype(np.uint8)
    iio.imwrite(tmp_path / name, smooth, extension=".jpg", quality=95)
    source = open_images(tmp_path / name)
    assert source.shape(0) == (3, 64, 48)
    np.testing.assert_allclose(source.read(0), smooth.transpose(2, 0, 1) / 255, atol=0.02)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_declares_its_axes(tmp_path, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", compression=compression)
    assert open_images(path).shape(0) == (3, 13, 17)
    v = RNG.normal(size=(2, 3, 2, 13, 17)).astype(np.float32)
    tifffile.imwrite(
        path, v, photometric="minisblack", metadata={"axes": "TZCYX"}, compression=compression, imagej=True
    )
    source = open_images(path)
    assert (len(source), source.channels) == (6, 2)
    np.testing.assert_array_equal(stack(source), v.reshape(6, 2, 13, 17))
    np.testing.assert_array_equal(source.read(4, (2, 3, 4, 5)), v.reshape(6, 2, 13, 17)[4, :, 2:6, 3:8])
    tifffile.imwrite(path, v[0, 0], photometric="minisblack", metadata={"axes": "CYX"}, compression=compression)
    np.testing.assert_array_equal(open_images(path).read(0), v[0, 0])
    tifffile.imwrite(path, RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression=compression)
    np.testing.assert_array_equal(open_images(path).read(0) * 255, RGB.transpose(2, 0, 1))


def test_tiff_pages_of_different_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(FLOAT[0], photometric="minisblack")
        file.write(FLOAT[1, :9, :8], photometric="minisblack", compression="zlib")
    source = open_images(tmp_path / "x.tif")
    assert [source.shape(i) for i in range(len(source))] == [(1, 13, 17), (1, 9, 8)]
    np.testing.assert_array_equal(source.read(1)[0], FLOAT[1, :9, :8])
    assert [source.name(i) for i in range(2)] == ["x_0000", "x_0001"]


def test_axes_of_a_tiff_with_one_page(tmp_path):
    write_tiff(tmp_path / "a.tif", FLOAT)
    write_tiff(tmp_path / "b.tif", FLOAT[0])
    assert len(open_images(tmp_path, axes="NHW")) == 5


def test_folder_mixes_formats_in_natural_order(tmp_path):
    iio.imwrite(tmp_path / "frame10.png", GREY)
    iio.imwrite(tmp_path / "frame2.png", GREY[:9])
    np.save(tmp_path / "frame1.npy", FLOAT[0, :5, :6])
    write_tiff(tmp_path / "stack.tif", DEEP)
    write_zarr(tmp_path / "t.zarr", FLOAT[:2])
    (tmp_path / ".hidden.png").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "deeper").mkdir()
    source = open_images(tmp_path)
    names = [source.name(i) for i in range(len(source))]
    assert names[:4] == ["frame1", "frame2", "frame10", "stack_0000"]
    assert names[4:] == ["stack_0001", "stack_0002", "stack_0003", "t_0000", "t_0001"]
    assert [source.shape(i)[1:] for i in range(4)] == [(5, 6), (9, 17), (13, 17), (13, 17)]
    np.testing.assert_array_equal(source.read(5)[0], DEEP[2].astype(np.float32) / 65535)


def test_names_are_unique(tmp_path):
    iio.imwrite(tmp_path / "a.png", GREY)
    write_tiff(tmp_path / "A.tif", GREY)
    np.save(tmp_path / "b.npy", FLOAT)
    iio.imwrite(tmp_path / "b_0001.png", GREY)
    iio.imwrite(tmp_path / "c.png", GREY)
    source = open_images(tmp_path)
    names = [source.name(i) for i in range(len(source))]
    assert len({n.casefold() for n in names}) == len(source) == 8
    assert "c" in names
    assert "a_png" in names


def test_dataset_is_found_or_named(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["group/b"] = FLOAT, DEEP
    np.testing.assert_array_equal(open_images(path, dataset="/a").read(0)[0], FLOAT[0])
    assert open_images(path, dataset="group/b").read(0).max() <= 1


def test_subset_and_fingerprint(tmp_path):
    np.save(tmp_path / "a.npy", FLOAT)
    source = open_images(tmp_path)
    part = source.subset([3, 1]).subset([1])
    assert (len(part), part.name(0), part.shape(0), part.channels) == (1, "a_0001", (1, 13, 17), 1)
    assert torch.equal(part.read(0), source.read(1))
    prints = {
        source.fingerprint(),
        part.fingerprint(),
        open_images(tmp_path, value_range=(0, 2)).fingerprint(),
    }
    assert source.fingerprint() == open_images(tmp_path).fingerprint()
    np.save(tmp_path / "a.npy", FLOAT.astype(np.float64))
    prints.add(open_images(tmp_path).fingerprint())
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")
    prints.add(open_images(tmp_path).fingerprint())
    assert len(prints) == 5
    assert all(len(p) == 16 for p in prints)


def test_memory_source():
    x = {"a": torch.rand(3, 5, 6), "b": torch.rand(3, 7, 8, dtype=torch.float64)}
    source = MemorySource(x)
    assert (len(source), source.channels, source.shape(1), source.name(1)) == (2, 3, (3, 7, 8), "b")
    assert torch.equal(source.read(0, (1, 2, 3, 4)), x["a"][:, 1:4, 2:6])
    source.read(0).zero_()
    assert x["a"].any()


def test_opening_reads_no_pixels(tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "a.png", GREY)
    write_zlib_tiff(tmp_path / "b.tif", GREY)

    def fail(*args, **kwargs):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(iio, "imread", fail)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    assert len(open_images(tmp_path)) == 2


def test_decoded_images_are_kept_within_bytes(tmp_path, monkeypatch):
    for k in range(4):
        iio.imwrite(tmp_path / f"{k}.png", np.full((50, 20), k, np.uint8))
    decoded = []
    imread = iio.imread
    monkeypatch.setattr(iio, "imread", lambda p, **kwargs: decoded.append(p.stem) or imread(p, **kwargs))
    source = open_images(tmp_path)
    source._cache.max_bytes = 2500  # two images of 1000 bytes
    for i in (0, 0, 1, 0, 2, 0, 1):
        assert source.read(i, (0, 0, 2, 2))[0, 0, 0] * 255 == i
        assert source._cache.nbytes <= 2500
    assert decoded == ["0", "1", "2", "1"]


def test_at_most_64_files_stay_open(tmp_path):
    for k in range(80):
        np.save(tmp_path / f"{k}.npy", np.full((3, 3), k, np.float32))
    source = open_images(tmp_path)
    assert [source.read(i)[0, 0, 0].item() for i in range(80)] == list(range(80))
    assert len(source._cache._open) == 64


HUGE = (16, 8192, 4096)  # 2 GB of float32, of which nothing is on the disk


def huge_npy(path: Path) -> None:
    np.lib.format.open_memmap(path, "w+", np.float32, HUGE)


def huge_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", HUGE, "f4", chunks=(1, 256, 256))[:, :256, :256] = 0  # a chunk of each image


def huge_zarr(path: Path) -> None:
    array = zarr.open_group(path, mode="w").create_array(
        "x", shape=HUGE, chunks=(1, 256, 256), dtype="f4", fill_value=1
    )
    array[:, :256, :256] = 0  # a chunk of each image


LAZY = """
import resource, sys, torch
from unveil.data import crops, open_images
heavy = {"skimage", "h5py", "zarr", "tifffile", "imageio"} & set(sys.modules)
assert not heavy, heavy
import h5py, zarr, tifffile
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
for path in sys.argv[1:]:
    before = peak()
    source = open_images(path)
    assert len(source) == 16
    assert 0 <= crops(source, 8, 128, torch.Generator().manual_seed(0)).min() <= 1
    print(peak() - before)
"""


def test_import_is_cheap_and_a_crop_of_a_huge_stack_needs_little_memory(tmp_path):
    huge_npy(tmp_path / "x.npy")
    huge_hdf5(tmp_path / "x.h5")
    huge_zarr(tmp_path / "x.zarr")
    paths = [str(tmp_path / f"x.{e}") for e in ("npy", "h5", "zarr")]
    run = subprocess.run([sys.executable, "-c", LAZY, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(int(line) < 100e6 for line in run.stdout.split()), run.stdout  # one image has 134 MB
