"""Results are files like their input: axes, pixel size, units, header; and hold each image where its measurement
was."""

import shutil

import mrcfile
import numpy as np
import pytest
import tifffile
import torch

from unveil.data import MemorySource, open_images
from unveil.data.like import as_type, result_files, write_like

RNG = np.random.default_rng(0)


def doubled(tmp_path, source, same_grid=True, dtype=np.float32):
    """What is written for twice the input's values: the path."""
    (target,) = result_files(source, same_grid)
    low, high = source.origin(0).value_range
    images = [2 * (low + (high - low) * source.read(i).numpy()).astype(dtype) for i in target.images]
    path = tmp_path / "out" / (target.stem + target.suffix)
    path.parent.mkdir()
    write_like(path, target, [x.shape for x in images], iter(images), np.dtype(dtype))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path


def test_imagej_hyperstack(tmp_path):
    v = RNG.integers(0, 4096, (3, 4, 2, 8, 9)).astype(np.uint16)
    said = {"axes": "TZCYX", "unit": "um", "spacing": 300, "zunit": "nm", "finterval": 2.0}
    said |= {"Labels": [f"p{i}" for i in range(24)]}
    tifffile.imwrite(tmp_path / "h.tif", v, imagej=True, resolution=(1 / 0.108, 1 / 0.2), metadata=said)
    path = doubled(tmp_path, open_images(tmp_path / "h.tif"))
    with tifffile.TiffFile(path) as file:
        series, tags, metadata = file.series[0], file.pages[0].tags, file.imagej_metadata
        assert (len(file.series), series.axes, series.dtype) == (1, "TZCYX", np.float32)
        np.testing.assert_allclose(series.asarray(), 2.0 * v)
        for name, pixel in (("XResolution", 0.108), ("YResolution", 0.2)):
            assert tags[name].value[1] / tags[name].value[0] == pytest.approx(pixel, rel=1e-5)
    assert (metadata["unit"], metadata["spacing"], metadata["zunit"], metadata["finterval"]) == ("um", 300, "nm", 2.0)
    assert metadata["Labels"][23] == "p23"


def test_ome_tiff(tmp_path):
    v = RNG.integers(0, 4096, (3, 2, 8, 9)).astype(np.uint16)
    said = {
        "axes": "ZCYX",
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 2000.0,
        "PhysicalSizeYUnit": "Å",
        "PhysicalSizeZ": 500.0,
        "PhysicalSizeZUnit": "nm",
        "Channel": {"Name": ["a", "b"]},
    }
    tifffile.imwrite(tmp_path / "h.ome.tif", v, ome=True, metadata=said)
    path = doubled(tmp_path, open_images(tmp_path / "h.ome.tif"))
    first = path.read_bytes()
    shutil.rmtree(path.parent)
    assert doubled(tmp_path, open_images(tmp_path / "h.ome.tif")).read_bytes() == first
    assert path.name == "h.ome.tif"
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "ZCYX"
        np.testing.assert_allclose(file.asarray(), 2.0 * v)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    sizes = [(pixels[f"PhysicalSize{axis}"], pixels[f"PhysicalSize{axis}Unit"]) for axis in "XYZ"]
    assert sizes == [(0.1, "µm"), (2000.0, "Å"), (500.0, "nm")], "each axis in its own unit"
    assert [c["Name"] for c in pixels["Channel"]] == ["a", "b"]
    shutil.rmtree(path.parent)
    half = doubled(tmp_path, open_images(tmp_path / "h.ome.tif"), dtype=np.float16)  # OME has none
    np.testing.assert_allclose(open_images(half).read(2), 2.0 * v[2], rtol=1e-3)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_images_of_an_ome_tiff(tmp_path, compression):
    """Each with its axes, sizes, units and name."""
    values = [RNG.random(shape).astype(np.float32) for shape in ((2, 3, 8, 9), (2, 12, 10), (8, 9))]
    sizes = [(0.1, "µm", 500.0, "nm"), (200.0, "nm", 0.7, "µm"), (0.3, "mm", 1.0, "cm")]
    with tifffile.TiffWriter(tmp_path / "h.ome.tif", ome=True) as file:
        for k, (v, axes, (x, ux, z, uz)) in enumerate(zip(values, ("TZYX", "ZYX", "YX"), sizes)):
            said = {"PhysicalSizeX": x, "PhysicalSizeXUnit": ux, "PhysicalSizeZ": z, "PhysicalSizeZUnit": uz}
            metadata = {"axes": axes, "Name": f"place {k}", "Channel": {"Name": [f"dye {k}"]}, **said}
            file.write(v, metadata=metadata, photometric="minisblack", compression=compression)
    path = doubled(tmp_path, open_images(tmp_path / "h.ome.tif"))
    with tifffile.TiffFile(path) as file:
        assert [series.axes for series in file.series] == ["TZYX", "ZYX", "YX"]
        for series, v in zip(file.series, values, strict=True):
            np.testing.assert_allclose(series.asarray(), 2 * v)
        images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    keys = ("PhysicalSizeX", "PhysicalSizeXUnit", "PhysicalSizeZ", "PhysicalSizeZUnit")
    assert [tuple(image["Pixels"][key] for key in keys) for image in images] == sizes
    assert [(i["Name"], i["Pixels"]["Channel"]["Name"]) for i in images] == [
        (f"place {k}", f"dye {k}") for k in range(3)
    ]
    first = path.read_bytes()
    shutil.rmtree(path.parent)
    assert doubled(tmp_path, open_images(tmp_path / "h.ome.tif")).read_bytes() == first
    shutil.rmtree(path.parent)
    half = doubled(tmp_path, open_images(tmp_path / "h.ome.tif"), dtype=np.float16)  # OME has none
    with tifffile.TiffFile(half) as file:
        assert not file.is_ome
        np.testing.assert_allclose(file.pages[8].asarray(), 2 * values[2], rtol=1e-2)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((5, 8, 9), {"photometric": "minisblack", "compression": "zlib"}),
        ((5, 8, 9), {"photometric": "minisblack", "metadata": None}),
        ((8, 9, 3), {"photometric": "rgb"}),
        ((4, 8, 9, 3), {"photometric": "rgb", "metadata": None}),
        ((8, 9), {"resolution": (300, 300), "resolutionunit": "INCH"}),
        ((2, 3, 8, 9), {"photometric": "minisblack", "metadata": {"axes": "CZYX"}}),
    ],
)
def test_plain_tiff(tmp_path, shape, options):
    v = RNG.random(shape).astype(np.float32)
    tifffile.imwrite(tmp_path / "h.tif", v, **options)
    before = open_images(tmp_path / "h.tif")
    path = doubled(tmp_path, before)
    after = open_images(path)
    assert (len(after), after.channels) == (len(before), before.channels)
    for i in range(len(after)):
        torch.testing.assert_close(after.read(i), 2 * before.read(i))
    with tifffile.TiffFile(tmp_path / "h.tif") as old, tifffile.TiffFile(path) as new:
        assert len(new.pages) == len(old.pages)
        assert new.series[0].shape == old.series[0].shape
        assert new.pages[0].photometric == old.pages[0].photometric
        assert new.pages[0].tags["XResolution"].value == old.pages[0].tags["XResolution"].value
        assert new.pages[0].resolutionunit == old.pages[0].resolutionunit


def test_pages_of_different_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "h.tif") as file:
        for side in (8, 9, 9, 12):
            file.write(RNG.random((side, 8)).astype(np.float32), contiguous=False)
    before = open_images(tmp_path / "h.tif")
    after = open_images(doubled(tmp_path, before))
    for i in range(4):
        torch.testing.assert_close(after.read(i), 2 * before.read(i))


@pytest.mark.parametrize(("name", "shape"), [("m.mrc", (8, 9)), ("s.mrcs", (3, 8, 9)), ("v.mrc", (3, 8, 9))])
def test_mrc(tmp_path, name, shape):
    v = RNG.integers(-99, 99, shape).astype(np.int16)
    with mrcfile.new(tmp_path / name) as file:
        file.set_data(v)
        file.voxel_size = (1.5, 1.5, 2.5)
        file.header.origin.x, file.header.nxstart = 7, -3
        file.add_label("from the microscope")
        if name == "v.mrc":
            file.set_volume()
        else:
            file.set_image_stack() if v.ndim == 3 else None
        file.set_extended_header(np.arange(64, dtype=np.int8))
        file.header.exttyp = b"FEI1"
    path = doubled(tmp_path, open_images(tmp_path / name))
    assert path.name == name
    assert mrcfile.validate(path)
    with mrcfile.open(path) as new, mrcfile.open(tmp_path / name) as old:
        np.testing.assert_allclose(new.data, 2.0 * v)
        assert new.header.mode == 2
        assert new.voxel_size == old.voxel_size
        for key in ("origin", "nxstart", "ispg", "mz", "exttyp"):
            assert new.header[key] == old.header[key], key
        assert "from the microscope" in str(new.header.label[1])
        assert str(new.header.label[2]).startswith("b'unveil")
        assert np.array_equal(new.extended_header, old.extended_header)
        assert new.header.dmax == pytest.approx(2.0 * v.max())


def test_an_extended_header_that_does_not_say_its_kind(tmp_path):
    with mrcfile.new(tmp_path / "a.ali") as file:
        file.set_data(RNG.random((3, 8, 9)).astype(np.float32))
        file.set_extended_header(np.arange(64, dtype=np.int8))
    path = doubled(tmp_path, open_images(tmp_path / "a.ali"))
    assert path.name == "a.mrc"
    with mrcfile.open(path, permissive=True) as new:
        assert new.extended_header.tobytes() == bytes(range(64))


@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 8, 9), None), ((8, 9), None), ((2, 4, 8, 9), "CNHW"), ((8, 9, 3), "HWC")]
)
def test_npy(tmp_path, shape, axes):
    v = RNG.random(shape).astype(np.float32)
    np.save(tmp_path / "a.npy", v)
    np.testing.assert_allclose(np.load(doubled(tmp_path, open_images(tmp_path / "a.npy", axes=axes))), 2 * v)


def test_npy_whose_images_have_another_shape_than_its_measurements(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 8, 9), np.float32))
    source = open_images(tmp_path / "a.npy", axes="NNHW")
    (target,) = result_files(source, False)
    x = RNG.random((6, 3, 4, 5)).astype(np.float32)
    write_like(tmp_path / "b.npy", target, [(3, 4, 5)] * 6, iter(x), np.dtype(np.float32))
    assert np.array_equal(np.load(tmp_path / "b.npy"), x.reshape(2, 3, 3, 4, 5))


def test_what_has_no_form_of_its_own_is_a_tiff(tmp_path):
    np.save(tmp_path / "k.npy", np.zeros((2, 8, 9), np.complex64))
    (target,) = result_files(open_images(tmp_path / "k.npy"), True)
    assert (target.suffix, target.images) == (".tif", (0, 1))
    x = RNG.random((2, 2, 8, 9)).astype(np.float32)
    write_like(tmp_path / "k.tif", target, [(2, 8, 9)] * 2, iter(x), np.dtype(np.float32))
    source = open_images(tmp_path / "k.tif")
    assert torch.equal(torch.stack([source.read(i) for i in range(2)]), torch.from_numpy(x))
    memory = MemorySource({"a": torch.zeros(1, 2, 2), "b": torch.zeros(1, 2, 2)})
    assert [t.stem + t.suffix for t in result_files(memory, True)] == ["a.tif", "b.tif"]


def test_no_two_files_get_one_name(tmp_path):
    for name in ("a b", "a_b", "a:b", "A_B"):
        np.save(tmp_path / f"{name}.npy", np.zeros((8, 9), np.float32))
    np.save(tmp_path / "a_b.x.npy", np.zeros((2, 8, 9), np.float32))
    tifffile.imwrite(tmp_path / "a_b.tif", np.zeros((2, 8, 9), np.float32), photometric="minisblack")
    stems = [target.stem.casefold() for target in result_files(open_images(tmp_path), True)]
    assert len(set(stems)) == len(stems) == 6


def test_integers_are_rounded_and_what_is_clipped_is_counted():
    values = np.array([[-1.0, 0.4, 0.6, 254.4, 255.6, 300.0]], np.float32)
    rounded, clipped = as_type(values, np.dtype(np.uint8))
    assert rounded.tolist() == [[0, 0, 1, 254, 255, 255]]
    assert clipped == 3
    assert as_type(np.array([2.0**33, -5.0]), np.dtype(np.uint32))[0].tolist() == [2**32 - 1, 0]
    assert as_type(np.array([2.0**64, -(2.0**64)]), np.dtype(np.int64))[0].tolist() == [2**63 - 1, -(2**63)]
    assert as_type(values, np.dtype(np.float64))[0].dtype == np.float64
