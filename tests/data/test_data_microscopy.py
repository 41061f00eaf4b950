"""Files of microscopes: every scene, plane and channel where it was, lazily, and an OME-TIFF like them."""

import pickle
import sys

import numpy as np
import pytest
import tifffile

from unveil.data import open_images
from unveil.data.like import result_files, write_like
from unveil.data.microscopy import Scene
from unveil.data.pixel_size import pixel_size
from unveil.errors import UnveilError

RNG = np.random.default_rng(0)
V = RNG.integers(0, 4096, (2, 3, 2, 20, 24)).astype(np.uint16)  # t, z, c, y, x


def czi(path, planes, **said):
    """planes: (where, pixels (H, W, samples))."""
    library = pytest.importorskip("pylibCZIrw.czi")
    with library.create_czi(str(path)) as file:
        for where, pixels in planes:
            file.write(data=np.ascontiguousarray(pixels), **where)
        file.write_metadata("x", **said)
    return path


def stack(path):
    planes = [({"plane": dict(zip("TZC", k))}, V[k][..., None]) for k in np.ndindex(2, 3, 2)]
    names = {0: "DAPI", 1: "GFP"}
    return czi(path, planes, channel_names=names, scale_x=1e-7, scale_y=2e-7, scale_z=5e-7)


def copied(source, folder):
    """The values of the input, written like it: the path."""
    (target,) = result_files(source, True)
    images = ((source.read(i).numpy() * 65535).round().astype(np.uint16) for i in target.images)
    write_like(folder / f"out{target.suffix}", target, [source.shape(i) for i in target.images], images, np.dtype("u2"))
    return folder / f"out{target.suffix}"


def test_a_stack_over_time_depth_and_channels(tmp_path):
    source = pickle.loads(pickle.dumps(open_images(stack(tmp_path / "a.czi"))))
    assert (len(source), source.shape(5), source.name(5)) == (6, (2, 20, 24), "a_0005")
    for i, (t, z) in enumerate(np.ndindex(2, 3)):
        np.testing.assert_allclose(source.read(i) * 65535, V[t, z], rtol=1e-6)
    np.testing.assert_array_equal(source.read(4, (3, 5, 7, 9)), source.read(4)[:, 3:10, 5:14])
    assert pixel_size(tmp_path / "a.czi") == (0.1, "µm")
    path = copied(source, tmp_path)
    assert path.name == "out.ome.tif"
    with tifffile.TiffFile(path) as file:
        assert (file.series[0].axes, file.series[0].shape) == ("TZCYX", V.shape)
        np.testing.assert_array_equal(file.asarray(), V)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "XYZ"] == [0.1, 0.2, 0.5]
    assert [channel["Name"] for channel in pixels["Channel"]] == ["DAPI", "GFP"]


def test_scenes_of_different_sizes(tmp_path):
    parts = [V[0, :, 0], V[1, :, 1, :12, :16]]
    planes = [
        ({"plane": {"Z": z}, "scene": s, "location": (100 * s, 7 * s)}, part[z][..., None])
        for s, part in enumerate(parts)
        for z in range(3)
    ]
    source = open_images(czi(tmp_path / "s.czi", planes))
    assert [source.shape(i) for i in (0, 5)] == [(1, 20, 24), (1, 12, 16)]
    assert pixel_size(tmp_path / "s.czi") is None
    with tifffile.TiffFile(copied(source, tmp_path)) as file:
        assert [series.axes for series in file.series] == ["ZYX", "ZYX"]
        for series, part in zip(file.series, parts):
            np.testing.assert_array_equal(series.asarray(), part)


def test_colours_are_red_green_blue(tmp_path):
    v = RNG.integers(0, 255, (20, 24, 3)).astype(np.uint8)
    source = open_images(czi(tmp_path / "c.czi", [({"plane": {}}, v)]))  # the library takes blue, green, red
    np.testing.assert_allclose(source.read(0) * 255, v[..., ::-1].transpose(2, 0, 1), rtol=1e-6)


@pytest.mark.parametrize(("name", "package"), [("a.czi", "pylibCZIrw"), ("a.nd2", "nd2"), ("a.lif", "liffile")])
def test_without_its_package_or_a_whole_file(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 9)
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("czi", "nd2s", "lif"):
        monkeypatch.delitem(sys.modules, f"unveil.data.{module}", raising=False)
        monkeypatch.delattr(f"unveil.data.{module}", raising=False)
    with pytest.raises(UnveilError, match=rf"needs the {package} package: pip install 'unveil\[microscopy\]'$"):
        open_images(tmp_path / name)
    monkeypatch.undo()
    pytest.importorskip(package)
    with pytest.raises(UnveilError, match=rf"^\S*{name} cannot be read[^\n]*$"):
        open_images(tmp_path / name)


def test_axes_without_a_letter_in_ome(tmp_path, monkeypatch):
    v = RNG.integers(0, 99, (2, 4, 3, 8, 9)).astype(np.uint16)
    scene = Scene("spectra", "TλZYX", v.shape, v.dtype, lambda: v, {"X": 0.1}, 2.5)
    monkeypatch.setattr("unveil.data.microscopy.scenes", lambda path: [scene])
    monkeypatch.setattr("unveil.data.like_ome.scenes", lambda path: [scene])
    (tmp_path / "a.lif").touch()
    with tifffile.TiffFile(copied(open_images(tmp_path / "a.lif"), tmp_path)) as file:
        assert file.series[0].axes == "TQZYX"
        np.testing.assert_array_equal(file.asarray(), v)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["TimeIncrement"], pixels["PhysicalSizeX"]) == (2.5, 0.1)
