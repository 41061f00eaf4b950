"""Time series and stacks through the command line: frames in order, one stack out, and nothing of the metadata lost."""

import numpy as np
import pytest
import tifffile
import zarr
from test_cli import SETS, call, refused

from unveil.data import open_images

NOISE = ("--set", "noise.kind=gaussian", "--set", "noise.sigma=0.005")
SHAPE = (2, 3, 2, 32, 36)  # t, z, c, y, x
LEVEL = np.arange(6).reshape(2, 3, 1, 1, 1)  # brighter with each image, by which their order is told
V = (3000 + 9000 * LEVEL + np.random.default_rng(0).normal(0, 300, SHAPE)).astype(np.uint16)
AXES = [{"name": n, "type": t} for n, t in zip("tczyx", ("time", "channel", "space", "space", "space"))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks")
    imagej(folder / "h.tif")
    assert call("init", folder / "h.tif", "--out", folder / "unveil.yaml", *SETS, *NOISE)[0] == 0
    assert call("train", folder / "unveil.yaml", "--out", folder / "run", "--set", "training.steps=2")[0] == 0
    return folder / "run"


def imagej(path):
    said = {"axes": "TZCYX", "unit": "um", "spacing": 0.3, "finterval": 2.5, "Labels": [f"p{i}" for i in range(12)]}
    tifffile.imwrite(path, V, imagej=True, resolution=(1 / 0.108, 1 / 0.2), metadata=said)


def ome(path):
    said = {"axes": "TZCYX", "TimeIncrement": 2.5, "TimeIncrementUnit": "s", "Channel": {"Name": ["DAPI", "GFP"]}}
    sizes = {f"PhysicalSize{axis}": side for axis, side in zip("XYZ", (0.108, 0.2, 0.3))}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tifffile.imwrite(path, V, ome=True, metadata={**said, **sizes, **units})


def ome_zarr(path):
    root = zarr.open_group(path, mode="w")
    v = V.transpose(0, 2, 1, 3, 4)
    root.create_array("0", data=v, chunks=(1, 2, 3, 32, 36))
    scale = [{"type": "scale", "scale": [2.5, 1, 0.3, 0.2, 0.108]}]
    said = {"axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [said]}


def denoised(run, path, tmp_path, *options):
    code, said = call("denoise", run, path, "--out", tmp_path / "out", *options)
    assert (code, said) == (0, "")
    return tmp_path / "out"


def check_order(x, dtype):
    assert x.dtype == dtype
    np.testing.assert_allclose(x.mean((2, 3, 4)), V.mean((2, 3, 4)), rtol=0.1)


@pytest.mark.parametrize(("options", "dtype"), [((), np.float32), (("--dtype", "input"), np.uint16)])
def test_a_hyperstack_of_imagej(run, tmp_path, capsys, options, dtype):
    imagej(tmp_path / "h.tif")
    out = denoised(run, tmp_path / "h.tif", tmp_path, *options)
    assert sorted(p.name for p in out.glob("*.tif")) == ["h.tif"]
    assert ("clipped to the range of the input's type: 0 values" in capsys.readouterr().out) == bool(options)
    with tifffile.TiffFile(out / "h.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == ("TZCYX", SHAPE)
        check_order(file.asarray(), dtype)
        said, tags = file.imagej_metadata, file.pages[0].tags
    assert (said["unit"], said["spacing"], said["finterval"], said["Labels"][11]) == ("um", 0.3, 2.5, "p11")
    for name, side in (("XResolution", 0.108), ("YResolution", 0.2)):
        assert tags[name].value[1] / tags[name].value[0] == pytest.approx(side, rel=1e-5)


def test_an_ome_tiff_with_sizes_channels_and_time(run, tmp_path):
    ome(tmp_path / "h.ome.tif")
    out = denoised(run, tmp_path / "h.ome.tif", tmp_path)
    with tifffile.TiffFile(out / "h.ome.tif") as file, tifffile.TiffFile(tmp_path / "h.ome.tif") as before:
        assert (file.series[0].axes, file.series[0].shape) == ("TZCYX", SHAPE)
        check_order(file.asarray(), np.float32)
        new, old = (tifffile.xml2dict(f.ome_metadata)["OME"]["Image"]["Pixels"] for f in (file, before))
    differ = {key for key in old if new.get(key) != old[key]}
    assert differ <= {"Type", "Channel", "TiffData"}
    assert [channel["Name"] for channel in new["Channel"]] == ["DAPI", "GFP"]
    assert (new["PhysicalSizeZ"], new["TimeIncrement"], new["TimeIncrementUnit"]) == (0.3, 2.5, "s")


def test_ome_zarr_again_and_by_force(run, tmp_path, capsys):
    ome_zarr(tmp_path / "h.ome.zarr")
    before = zarr.open_group(tmp_path / "h.ome.zarr", mode="r")
    out = denoised(run, tmp_path / "h.ome.zarr", tmp_path)
    after = zarr.open_group(out / "h.ome.zarr", mode="r")
    assert dict(after.attrs) == dict(before.attrs)
    check_order(after["0"][...].transpose(0, 2, 1, 3, 4), np.float32)
    assert len(open_images(out / "h.ome.zarr")) == 6
    denoised(run, tmp_path / "h.ome.zarr", tmp_path)
    assert "already" in capsys.readouterr().out
    (out / "h.ome.zarr" / "stale").touch()
    (out / ".h.ome.0a1b2c3d.zarr").mkdir()  # of a killed process
    denoised(run, tmp_path / "h.ome.zarr", tmp_path, "--force")
    assert not (out / "h.ome.zarr" / "stale").exists()
    assert not (out / ".h.ome.0a1b2c3d.zarr").exists()
    refused("denoise", run, out / "h.ome.zarr" / "0", "--out", out, "--force")
    assert (out / "h.ome.zarr" / "0").is_dir()
    np.testing.assert_array_equal(before["0"][...].transpose(0, 2, 1, 3, 4), V)


def test_mixed_sizes_odd_names_and_one_image_alone(run, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    names = ["a b (1).tif", "Zellen µ.tif", "[x] #%&'.tif", "-rf.tif"]
    for k, name in enumerate(names):
        tifffile.imwrite(
            data / name, V[k % 2, k % 3, :, : 32 - k, : 20 + 4 * k], photometric="minisblack", metadata={"axes": "CYX"}
        )
    out = denoised(run, data, tmp_path)
    assert sorted(p.name for p in out.glob("*.tif")) == sorted(names)
    for name in names:
        assert tifffile.imread(out / name).shape == tifffile.imread(data / name).shape
