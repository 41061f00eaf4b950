"""Zarr gives zarr: groups, metadata, chunks and codecs as they were, a pyramid of means, and never half a folder."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import zarr

from unveil.data import open_images
from unveil.data.like import result_files, write_like
from unveil.data.pixel_size import pixel_size
from unveil.data.placed import as_type
from unveil.errors import UnveilError

RNG = np.random.default_rng(0)
V = RNG.integers(0, 4096, (2, 3, 4, 18, 21)).astype(np.uint16)  # t, c, z, y, x
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    *({"name": n, "type": "space", "unit": unit} for n, unit in zip("zyx", ("nanometer", "micrometer", "micrometer"))),
]
OMERO = {
    "channels": [
        {"label": n, "color": "00FF00", "window": {"min": 0, "max": 99, "start": 0, "end": 9}}
        for n in ("DAPI", "GFP", "RFP")
    ]
}


def write_image(group, v=V, version=3, down=2):
    """An image of two levels, the second with half the rows and columns, rounded down or up."""
    half = v[..., : v.shape[-2] // 2 * 2 : 2, : v.shape[-1] // 2 * 2 : 2] if down else v[..., ::2, ::2]
    levels = []
    for k, part in enumerate((v, half)):
        names = {"dimension_names": list("tczyx")} if version == 3 else {}
        sharded = {"shards": (1, 3, 4, 24, 24)} if version == 3 else {}
        array = group.create_array(str(k), shape=part.shape, chunks=(1, 1, 2, 12, 12), dtype="u2", **names, **sharded)
        array[...] = part
        scale = {"type": "scale", "scale": [2.0, 1.0, 0.5, 0.1 * 2**k, 0.1 * 2**k]}
        levels.append({"path": str(k), "coordinateTransformations": [scale]})
    said = {"multiscales": [{"name": "cells", "axes": AXES, "datasets": levels}], "omero": OMERO}
    if version == 2:
        said["multiscales"][0]["version"] = "0.4"
    group.attrs.update(said if version == 2 else {"ome": {"version": "0.5", **said}})


def doubled(tmp_path, name, dtype=np.float32, **arguments):
    """What is written for twice the input's values: the path."""
    source = open_images(tmp_path / name, **arguments)
    (target,) = result_files(source, True)
    low, high = source.origin(0).value_range
    images = (2 * (low + (high - low) * source.read(i).numpy()) for i in target.images)
    path = tmp_path / "out" / (target.stem + target.suffix)
    path.parent.mkdir(exist_ok=True)
    shapes = [source.shape(i) for i in target.images]
    write_like(path, target, shapes, (as_type(x, np.dtype(dtype))[0] for x in images), np.dtype(dtype))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return path


def means(v):
    """Of blocks of 2 x 2, of which those at the end may be smaller."""
    rows = [v[..., i : i + 2, :].mean(-2) for i in range(0, v.shape[-2], 2)]
    v = np.stack(rows, -2)
    return np.stack([v[..., j : j + 2].mean(-1) for j in range(0, v.shape[-1], 2)], -1)


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(tmp_path, version, down):
    root = zarr.open_group(tmp_path / "x.ome.zarr", mode="w", zarr_format=version)
    write_image(root, V, version, down)
    write_image(root.create_group("labels").create_group("cells"), V, version)
    path = doubled(tmp_path, "x.ome.zarr")
    assert path.name == "x.ome.zarr"
    after = zarr.open_group(path, mode="r")
    assert after.metadata.zarr_format == version
    assert dict(after.attrs) == dict(root.attrs)
    assert sorted(after.group_keys()) == []
    np.testing.assert_allclose(after["0"], 2.0 * V)
    expected = means(2.0 * V)[..., : root["1"].shape[-2], : root["1"].shape[-1]]
    np.testing.assert_allclose(after["1"], expected, rtol=1e-6)
    for level in ("0", "1"):
        old, new = root[level], after[level]
        assert (new.dtype, new.shape, new.chunks, new.shards) == (np.float32, old.shape, old.chunks, old.shards)
        assert new.compressors == old.compressors
        if version == 3:
            assert new.metadata.dimension_names == tuple("tczyx")
    source = open_images(path)
    assert (len(source), source.shape(0)) == (8, (3, 18, 21))
    np.testing.assert_allclose(source.read(5), 2.0 * V[1, :, 1])
    assert pixel_size(path) == (0.1, "µm")
    text = "".join(file.read_text() for file in path.rglob("*") if file.suffix == ".json" or file.name == ".zattrs")
    assert text.count('"DAPI"') == 1


def test_integers_are_rounded_and_chunks_of_zeros_are_written(tmp_path):
    v = np.zeros((1, 1, 2, 18, 20), np.uint16)
    v[0, 0, 0, 17, 19] = 5
    v[0, 0, 1, :2, :2] = [[1, 2], [2, 2]]  # doubled, a mean of 3.5, and 4 rounded to even; truncated, 3
    root = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    write_image(root, v, 2)
    with warnings.catch_warnings(action="ignore"):  # of the chunks of zeros that were not written there
        path = doubled(tmp_path, "x.zarr", np.uint16)
    assert zarr.open_array(path / "1", mode="r")[0, 0, 1, 0, 0] == 4
    assert zarr.open_array(path / "1", mode="r").dtype == np.uint16
    with warnings.catch_warnings(action="error"):
        assert open_images(path).read(0)[0, :17].max() == 0


def test_a_pyramid_in_depth_and_without_scales(tmp_path):
    v = RNG.integers(0, 100, (5, 9, 8)).astype(np.uint16)
    root = zarr.open_group(tmp_path / "x.zarr", mode="w")
    for k, shape in enumerate(((5, 9, 8), (3, 4, 4))):
        root.create_array(str(k), shape=shape, chunks=(2, 3, 3), dtype="u2")[...] = v[
            : shape[0], : shape[1], : shape[2]
        ]
    scales = {"axes": AXES[2:], "datasets": [{"path": "0"}, {"path": "1"}, {"path": "gone"}]}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    path = doubled(tmp_path, "x.zarr")
    said = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert said["datasets"] == [{"path": "0"}, {"path": "1"}]  # of which the third was not there
    level = zarr.open_array(path / "1", mode="r")
    assert level[0, 0, 0] == pytest.approx(2 * v[:1, :2, :2].mean())  # from 5 planes to 3, from 9 rows to 4
    assert level[2, 3, 3] == pytest.approx(2 * v[3:, 6:, 6:].mean())


def test_all_images_of_a_plate_and_one_of_them(tmp_path):
    root = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}]}
    well = root.create_group("A").create_group("1")
    well.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
    other = RNG.integers(0, 99, (1, 3, 2, 10, 12)).astype(np.uint16)
    for name, v in (("0", V), ("1", other)):
        write_image(well.create_group(name), v, 2)
    path = doubled(tmp_path, "p.zarr")
    after = zarr.open_group(path, mode="r")
    assert dict(after.attrs) == dict(root.attrs)
    assert dict(after["A/1"].attrs) == dict(well.attrs)
    np.testing.assert_allclose(after["A/1/0/0"], 2.0 * V)
    np.testing.assert_allclose(after["A/1/1/0"], 2.0 * other)
    assert after["A/1/1"].attrs["omero"] == OMERO
    shutil.rmtree(path.parent)
    alone = zarr.open_group(doubled(tmp_path, "p.zarr", dataset="A/1/1"), mode="r")
    assert dict(alone.attrs) == dict(well["1"].attrs)
    np.testing.assert_allclose(alone["0"], 2.0 * other)
    shutil.rmtree(path.parent)
    small = zarr.open_group(doubled(tmp_path, "p.zarr", dataset="A/1/1/1"), mode="r")  # its second level
    assert [level["path"] for level in small.attrs["multiscales"][0]["datasets"]] == ["1"]


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_that_is_not_ome(tmp_path, version):
    v = RNG.random((4, 8, 9)).astype(np.float32)
    zarr.create_array(tmp_path / "a.zarr", data=v, chunks=(4, 8, 8), zarr_format=version, attributes={"unit": "counts"})
    after = zarr.open_array(doubled(tmp_path, "a.zarr", np.float64), mode="r")
    assert (after.chunks, after.dtype, dict(after.attrs)) == ((4, 8, 8), np.float64, {"unit": "counts"})
    shutil.rmtree(tmp_path / "out")
    root = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=version)
    root.create_group("scan").create_array("frames", data=v)
    root.create_array("time", data=np.arange(4))
    assert np.array_equal(
        zarr.open_group(doubled(tmp_path, "g.zarr", np.float64), mode="r")["scan/frames"][2], 2 * (v[2])
    )


def test_where_no_zarr_is_like_it(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((2, 8, 9), np.complex64))
    assert result_files(open_images(tmp_path / "a.zarr"), True)[0].suffix == ".tif"
    zarr.create_array(tmp_path / "b.zarr", data=RNG.random((3, 8, 9)).astype(np.float32))
    source = open_images(tmp_path / "b.zarr")
    assert result_files(source, False)[0].suffix == ".tif"
    assert result_files(source.subset([0, 2]), True)[0].suffix == ".tif"
    (target,) = result_files(source, True)
    with pytest.raises(UnveilError, match=r"have the shape \(3, 8, 9\) and its images \(1, 8, 9\)"):
        write_like(
            tmp_path / "c.zarr", target, [(3, 8, 9)] * 3, iter(np.zeros((3, 3, 8, 9), np.float32)), np.dtype("f4")
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    zarr.create_array(tmp_path / "b.zarr", data=RNG.random((3, 8, 9)).astype(np.float32))
    path = doubled(tmp_path, "b.zarr")
    (path / "stale").write_text("of an earlier one")
    assert not (doubled(tmp_path, "b.zarr") / "stale").exists()
    before = open_images(path).read(1)
    (target,) = result_files(open_images(tmp_path / "b.zarr"), True)

    def broken():
        yield np.zeros((1, 8, 9), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_like(path, target, [(1, 8, 9)] * 3, broken(), np.dtype("f4"))
    assert [p.name for p in path.parent.iterdir()] == ["b.zarr"]
    assert torch.equal(open_images(path).read(1), before)
