"""unveil estimate: a table in the numbers of the files, and options that init takes."""

import json
import shlex
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import yaml
from test_cli import call, refused

from unveil.config_file import load_config
from unveil.runs.noise import find_noise
from unveil.training.setup import open_measurements

GAIN, READ, OFFSET = 2, 2, 100


def camera(folder, light, count=3, seed=0):
    """TIFF of 16 bits of light (96, 96) in photons."""
    folder.mkdir()
    r = np.random.default_rng(seed)
    for i in range(count):
        y = GAIN * r.poisson(light) + OFFSET + READ * r.standard_normal(light.shape)
        tifffile.imwrite(folder / f"y{i}.tif", y.round().astype(np.uint16))
    return folder


@pytest.fixture
def measured(tmp_path):
    """Squares of light beside a dark half, darks and flats."""
    scene = np.random.default_rng(1).uniform(20, 200, (6, 6)).repeat(16, 0).repeat(16, 1)
    scene[:, 48:] = 0
    even = np.linspace(20, 300, 96)[None].repeat(96, 0)
    return camera(tmp_path / "y", scene), camera(tmp_path / "d", 0 * scene, 4, 2), camera(tmp_path / "f", even, 4, 3)


def test_a_camera_by_its_images_and_by_calibration(measured, tmp_path, capsys):
    images, darks, flats = measured
    assert call("estimate", images, "--out", tmp_path / "out") == (0, "")
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "estimate.json").read_text())
    assert found["kind"] == "poisson-gaussian"
    assert found["offset_assumed"] == "background"
    assert found["parameters"]["gain"] == pytest.approx(GAIN, rel=0.1)
    assert found["parameters"]["offset"] == pytest.approx(OFFSET, abs=1)
    assert found["verdict"] == "fits"
    assert (tmp_path / "out" / "transfer.png").read_bytes().startswith(b"\x89PNG")
    options = shlex.split(said.splitlines()[-1])
    assert call("init", images, "--out", tmp_path / "c.yaml", *options) == (0, "")
    assert yaml.safe_load((tmp_path / "c.yaml").read_text())["noise"]["kind"] == "poisson-gaussian"
    words = ("estimate", images, "--darks", darks, "--flats", flats, "--out", tmp_path / "out", "--force")
    assert call(*words) == (0, "")
    found = json.loads((tmp_path / "out" / "estimate.json").read_text())
    for name, true in (("gain", GAIN), ("read", (READ**2 + 1 / 12) ** 0.5), ("offset", OFFSET)):
        assert abs(found["parameters"][name] - true) < 4 * found["errors"][name] < 0.2 * true


def test_a_level_on_the_scale_that_init_will_have(tmp_path, capsys):
    r = np.random.default_rng(0)
    np.save(
        tmp_path / "y.npy",
        500 + 100 * r.random((3, 6, 6)).repeat(16, 1).repeat(16, 2) + 8 * r.standard_normal((3, 96, 96)),
    )
    assert call("estimate", tmp_path / "y.npy")[0] == 0
    options = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert call("init", tmp_path / "y.npy", "--out", tmp_path / "c.yaml", *options) == (0, "")
    config = yaml.safe_load((tmp_path / "c.yaml").read_text())
    low, high = config["data"]["value_range"]
    assert config["noise"]["sigma"] * (high - low) == pytest.approx(8, rel=0.05)


def test_channels_that_share_noise_are_stated_by_the_line_it_gives(tmp_path, capsys):
    """In the numbers of the files: a covariance of 64 and 24; init takes it, and check tells where it is not stated."""
    r = np.random.default_rng(0)
    scene = 100 + 100 * r.random((2, 8, 8, 3)).repeat(16, 1).repeat(16, 2)
    own, shared = r.standard_normal(scene.shape), r.standard_normal((*scene.shape[:3], 1))
    y = scene + 8 * (0.625**0.5 * own + 0.375**0.5 * shared)
    for i, image in enumerate(y):
        imageio.imwrite(tmp_path / f"y{i}.png", image.clip(0, 255).round().astype(np.uint8))
    assert call("estimate", tmp_path)[0] == 0
    options = shlex.split(capsys.readouterr().out.splitlines()[-1])
    covariance = np.array(yaml.safe_load(options[-1].split("=", 1)[1]))
    np.testing.assert_allclose(covariance, 64 * (0.625 * np.eye(3) + 0.375), atol=6)
    assert call("init", tmp_path, "--out", tmp_path / "c.yaml", *options) == (0, "")
    config = load_config(tmp_path / "c.yaml")
    found = find_noise(config, *open_measurements(config))
    assert float(found.sigma) == pytest.approx(8 / 255, rel=0.05)
    np.testing.assert_allclose(found.covariance, covariance / covariance.trace() * 3, atol=0.01)
    (tmp_path / "o.yaml").write_text(yaml.safe_dump({"data": {"path": str(tmp_path)}, "noise": {"sigma": 8 / 255}}))
    assert call("check", tmp_path / "o.yaml")[0] == 4
    assert "correlates by 0.3" in capsys.readouterr().out


def test_frames_that_will_not_do(measured, tmp_path):
    images, darks, _ = measured
    assert "at least two" in refused("estimate", images, "--darks", next(darks.iterdir()))
    assert "only data.*" in refused("estimate", images, "--set", "noise.sigma=1")
    np.save(darks / "other.npy", np.zeros((20, 20)))
    assert "differ in size" in refused("estimate", images, "--darks", darks)


def test_a_noise_scan_of_coils_is_stated_by_the_line_it_gives(tmp_path, capsys, monkeypatch):
    """Of complex k-space of two coils; init takes the line, and the level is that of the scan."""
    monkeypatch.chdir(tmp_path)
    r = np.random.default_rng(1)
    factor = np.array([[0.02, 0.0], [0.01, 0.03]])

    def noise(*shape):
        return (r.standard_normal((*shape, 2)) + 1j * r.standard_normal((*shape, 2))) @ factor.T

    np.save("scan.npy", noise(4000))
    np.save("kspace.npy", np.moveaxis(noise(6, 16, 16), -1, 1).astype("complex64"))
    np.save("mask.npy", np.ones(16, dtype=bool) & (np.arange(16) % 3 != 0))
    np.save("coils.npy", np.full((2, 16, 16), 0.5**0.5, dtype="complex64"))
    assert call("estimate", "kspace.npy", "--noise-scan", "scan.npy", "--out", "found") == (0, "")
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "--set noise.kind=correlated --set noise.covariance=scan.npy"
    found = json.loads((tmp_path / "found" / "estimate.json").read_text())
    shared = factor @ factor.T
    np.testing.assert_allclose(found["covariance"], np.kron(np.eye(2), shared), atol=1e-4)
    described = ("--set", "operator.mask=mask.npy", "--set", "operator.coils=coils.npy", "--out", "scan.yaml")
    assert call("init", "mri", "kspace.npy", *line.split(), *described)[0] == 0
    config = load_config(Path("scan.yaml"))
    source, operator = open_measurements(config)
    assert float(find_noise(config, source, operator).sigma) == pytest.approx(7e-4**0.5, rel=0.03)
    np.save("other.npy", noise(4000)[:, :1])
    assert "it is of 2 channels and the data have 4" in refused("estimate", "kspace.npy", "--noise-scan", "other.npy")


def test_maps_of_a_camera_by_darks_and_flats(tmp_path, capsys):
    """Of gains, read noise and offsets that differ, and hot pixels; what is printed is what init takes."""
    r = np.random.default_rng(0)
    shape = (96, 96)
    true = {
        "gain": GAIN * np.exp(0.15 * r.standard_normal(shape)),
        "read": READ * np.exp(0.5 * r.standard_normal(shape)) * np.where(r.random(shape) < 0.01, 15, 1),
        "offset": OFFSET + 3 * r.standard_normal(shape),
    }

    def frames(name, light, count):
        (tmp_path / name).mkdir()
        for i in range(count):
            y = true["offset"] + true["gain"] * r.poisson(light) + true["read"] * r.standard_normal(shape)
            tifffile.imwrite(tmp_path / name / f"{i}.tif", y.round().clip(0).astype(np.uint16))
        return tmp_path / name

    scenes = [r.uniform(20, 200, (6, 6)).repeat(16, 0).repeat(16, 1) for _ in range(3)]
    images = [frames(f"y{i}", scene, 1) for i, scene in enumerate(scenes)]
    for i, folder in enumerate(images[1:], 1):
        next(folder.iterdir()).rename(images[0] / f"{i}.tif")
    darks = frames("d", np.zeros(shape), 20)
    flats = frames("f", np.full(shape, 300), 20)
    for path in frames("g", np.full(shape, 1000), 20).iterdir():
        path.rename(flats / f"bright{path.name}")
    out = tmp_path / "out"
    assert call("estimate", images[0], "--darks", darks, "--flats", flats, "--out", out)[0] == 0
    said = capsys.readouterr().out
    found = json.loads((out / "estimate.json").read_text())
    assert found["verdict"] == "fits", found["reason"]
    errors = {row["name"]: row["error"] for row in found["rows"]}
    for name, words in (("gain", "gain"), ("read", "read noise"), ("offset", "offset")):
        off = tifffile.imread(out / f"{name}.tif") - true[name]
        stated = errors[f"{words} of pixels"]
        assert np.quantile(np.abs(off), 0.683) == pytest.approx(stated, rel=0.15)
        assert off.std() < 0.9 * true[name].std()
    lines = said.splitlines()
    at = lines.index("noise:")
    section = yaml.safe_load("\n".join(lines[at : at + 5]))["noise"]
    assert section == {"kind": "poisson-gaussian", **{name: str(out / f"{name}.tif") for name in true}}
    assert call("init", images[0], "--out", tmp_path / "c.yaml", *shlex.split(lines[-1])) == (0, "")
    assert yaml.safe_load((tmp_path / "c.yaml").read_text())["noise"]["gain"] == str(out / "gain.tif")


def test_no_maps_where_pixels_do_not_differ(measured, tmp_path, capsys):
    images, darks, flats = measured
    assert call("estimate", images, "--darks", darks, "--flats", flats, "--out", tmp_path / "out")[0] == 0
    assert "no map of gain" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("*.tif"))
