"""unveil estimate: a table in the numbers of the files, and options that init takes."""

import json
import shlex
from pathlib import Path

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
