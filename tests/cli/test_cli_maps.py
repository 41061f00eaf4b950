"""A camera with maps of its own, from init to evaluate: the run folder is all that it takes to use and repeat a run."""

import shutil

import numpy as np
import pytest
import tifffile
import yaml
from test_cli import call, refused

SIDE, OFFSET = 48, 100


@pytest.fixture
def camera(tmp_path):
    """Squares of light on 16 bits; gains, read noise with hot pixels, offsets."""
    r = np.random.default_rng(0)
    maps = {
        "gain": 2 * np.exp(0.1 * r.standard_normal((SIDE, SIDE))),
        "read": 2 * np.exp(0.5 * r.standard_normal((SIDE, SIDE))),
        "offset": OFFSET + 5 * r.standard_normal((SIDE, SIDE)),
    }
    maps["read"][r.random((SIDE, SIDE)) < 0.01] = 60
    (tmp_path / "maps").mkdir()
    (tmp_path / "y").mkdir()
    for name, values in maps.items():
        tifffile.imwrite(tmp_path / "maps" / f"{name}.tif", values.astype("float32"))
    for i in range(4):
        x = r.uniform(20, 200, (6, 6)).repeat(8, 0).repeat(8, 1)
        y = maps["offset"] + maps["gain"] * r.poisson(x) + maps["read"] * r.standard_normal((SIDE, SIDE))
        tifffile.imwrite(tmp_path / "y" / f"{i}.tif", y.round().clip(0).astype("uint16"))
    return tmp_path, maps


def options(folder, **changes):
    noise = {name: folder / "maps" / f"{name}.tif" for name in ("gain", "read", "offset")} | changes
    noise["kind"] = "poisson-gaussian"
    return [word for name, value in noise.items() for word in ("--set", f"noise.{name}={value}")]


SMALL = ["--set", "training.steps=3", "--set", "training.crop=16", "--set", "training.batch=4"]
SMALL += ["--set", "estimator.widths=[8,8]", "--set", "sampling.inflation=0"]


def test_maps_from_init_to_evaluate(camera):
    folder, maps = camera
    assert call("init", folder / "y", "--out", folder / "c.yaml", *options(folder)) == (0, "")
    written = yaml.safe_load((folder / "c.yaml").read_text())["noise"]
    assert written["gain"].endswith("maps/gain.tif")
    run = folder / "run"
    assert call("train", folder / "c.yaml", "--out", run, *SMALL)[0] == 0
    for name, values in maps.items():
        np.testing.assert_array_equal(tifffile.imread(run / "maps" / f"{name}.tif"), values.astype("float32"))
    assert yaml.safe_load((run / "config.yaml").read_text())["noise"]["gain"] == "maps/gain.tif"
    assert call("train", folder / "c.yaml", "--out", run, *SMALL) == (0, ""), "trained already"
    one = {**maps, "gain": maps["gain"] + 0.1}
    tifffile.imwrite(folder / "maps" / "gain.tif", one["gain"].astype("float32"))
    assert "other maps" in refused("train", folder / "c.yaml", "--out", run, *SMALL)
    shutil.rmtree(folder / "maps")
    assert call("denoise", run, folder / "y", "--out", folder / "x") == (0, "")
    assert np.isfinite(tifffile.imread(folder / "x" / "0.tif")).all()
    samples = ["--set", "sampling.samples=2", "--set", "sampling.steps=3"]
    assert call("sample", run, folder / "y", "--out", folder / "s", *samples) == (0, "")
    assert call("evaluate", run, "--sampled", "0")[0] == 0
    assert call("train", run / "config.yaml", "--out", folder / "again") == (0, "")
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("run", "again")]
    assert weights[0] == weights[1]
    tifffile.imwrite(folder / "y" / "4.tif", np.ones((SIDE, 50), "uint16"))
    assert "4" in refused("denoise", run, folder / "y", "--out", folder / "x2")
    (run / "maps" / "read.tif").write_bytes((run / "maps" / "gain.tif").read_bytes())
    assert "is not the map of noise.read" in refused("denoise", run, folder / "y", "--out", folder / "x3")


def test_gaussian_noise_with_a_map_of_its_level(camera):
    folder, _ = camera
    r = np.random.default_rng(1)
    sigma = 8 * np.exp(0.5 * r.standard_normal((SIDE, SIDE))).astype("float32")
    tifffile.imwrite(folder / "sigma.tif", sigma)
    for i in range(4):
        x = 500 + r.uniform(0, 200, (6, 6)).repeat(8, 0).repeat(8, 1)
        tifffile.imwrite(folder / "y" / f"{i}.tif", (x + sigma * r.standard_normal(x.shape)).astype("float32"))
    stated = ["--set", f"noise.sigma={folder / 'sigma.tif'}"]
    assert call("init", folder / "y", "--out", folder / "c.yaml", *stated) == (0, "")
    assert call("train", folder / "c.yaml", "--out", folder / "run", *SMALL)[0] == 0
    low, high = yaml.safe_load((folder / "c.yaml").read_text())["data"]["value_range"]
    assert high - low > 100, "the map is in the numbers of the files"
    assert call("evaluate", folder / "run", "--sampled", "1", "--set", "sampling.steps=3")[0] in (0, 5)
    assert "has no one level" in refused("denoise", folder / "run", folder / "y", "--out", folder / "x", "--sigma", "1")
