"""The pixel's size as files state it; None of what states none."""

import json

import mrcfile
import numpy as np
import pytest
import tifffile

from unveil.data.pixel_size import pixel_size

V = np.zeros((8, 9), np.float32)


def imagej(path, unit="um"):
    tifffile.imwrite(path, V, imagej=True, resolution=(1 / 0.108, 1 / 0.2), metadata={"unit": unit})


def ome(path, unit="µm"):
    metadata = {"axes": "YX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, V, ome=True, metadata=metadata)


def mrc(path):
    with mrcfile.new(path, V) as file:
        file.voxel_size = 1.06


def zarr(path, new=True, name="x"):
    path.mkdir()
    steps = [{"type": "scale", "scale": [1.0, 0.5, 0.25]}, {"type": "translation", "translation": [0, 0, 0]}]
    scales = {
        "axes": [{"name": "c"}, {"name": "y"}, {"name": name, "type": "space", "unit": "micrometer"}],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
        "coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 2.0]}],
    }
    text = {"multiscales": [scales]}
    text = {"attributes": {"ome": {"version": "0.5", **text}}} if new else text
    (path / ("zarr.json" if new else ".zattrs")).write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.tif", imagej, (0.108, "µm")),
        ("a.tif", lambda path: imagej(path, "nm"), (0.108, "nm")),
        ("a.tif", lambda path: imagej(path, "pixel"), None),
        ("a.tif", lambda path: tifffile.imwrite(path, V, resolution=(72, 72)), None),
        ("a.ome.tif", ome, (0.65, "µm")),
        ("a.ome.tif", lambda path: ome(path, "pixel"), None),
        ("a.tif", lambda path: imagej(path, "\\u00C5"), (0.108, "Å")),
        ("a.mrc", mrc, (1.06, "Å")),
        ("a.zarr", zarr, (0.5, "µm")),
        ("a.zarr", lambda path: zarr(path, new=False), (0.5, "µm")),
        ("a.zarr", lambda path: zarr(path, name="other"), None),
        ("a.tif", lambda path: path.write_bytes(b"II*\0 no TIFF"), None),
        ("a.zarr", lambda path: path.mkdir(), None),
        ("a.npy", lambda path: np.save(path, V), None),
        ("a.tif", lambda path: None, None),
    ],
)
def test_it_is_read_where_it_is_stated(tmp_path, name, write, expected):
    write(tmp_path / name)
    found = pixel_size(tmp_path / name)
    assert found == (None if expected is None else (pytest.approx(expected[0], rel=1e-4), expected[1]))
