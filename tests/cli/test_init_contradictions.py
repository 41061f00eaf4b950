"""unveil init on data that are not what they are taken for: one line, or a refusal that names the image."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from unveil.cli import main


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    """init(*words) -> (exit code, the written configuration or None, stderr)."""

    def run(*words):
        out = tmp_path / "c.yaml"
        monkeypatch.setattr(sys, "argv", ["unveil", "init", *map(str, words), "--out", str(out), "--force"])
        with pytest.raises(SystemExit) as caught:
            main()
        run.said = capsys.readouterr()
        return caught.value.code, yaml.safe_load(out.read_text()) if out.exists() else None, run.said.err

    return run


def scene(side: int = 64, seed: int = 0) -> np.ndarray:
    """Squares of 16 pixels of random grey in [0.2, 0.8]."""
    return np.random.default_rng(seed).uniform(0.2, 0.8, (side // 16, side // 16)).repeat(16, 0).repeat(16, 1)


def noisy(sigma: float = 0.1, seed: int = 0, side: int = 64) -> np.ndarray:
    return scene(side, seed) + sigma * np.random.default_rng(100 + seed).standard_normal((side, side))


def folder(path: Path, *images: np.ndarray) -> Path:
    path.mkdir()
    for i, image in enumerate(images):
        np.save(path / f"y{i}.npy", image)
    return path


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 60.0), (-3e8, 7.0), (2.5, 1e-5), (0.0, 4000.0)])
def test_values_far_from_zero(offset, scale, init, tmp_path):
    """The range is as wide as the values, however far from 0, and so the noise a tenth of it or a little less."""
    code, config, err = init(folder(tmp_path / "d", *(offset + scale * noisy(seed=i) for i in range(3))))
    assert code in (0, None), err
    low, high = config["data"]["value_range"]
    assert low == pytest.approx(offset, abs=0.2 * scale)
    assert (high - low) / scale == pytest.approx(1, abs=0.3)
    assert err == ""


def test_constant_images(init, tmp_path):
    flat = np.full((64, 64), 0.4)
    code, config, err = init(folder(tmp_path / "flat", flat, flat))
    assert code == 2
    assert config is None
    assert "constant images (y0, y1)" in err
    code, _, err = init(folder(tmp_path / "some", flat, noisy()))
    assert code in (0, None)
    assert "some images are constant (y0)" in err


def test_channels_that_are_copies_are_refused(init, tmp_path):
    images = [np.repeat((255 * noisy(seed=i)).clip(0, 255).astype("u1")[..., None], 3, -1) for i in range(2)]
    code, config, err = init(folder(tmp_path / "d", *images), "--set", "data.axes=HWC")
    assert code == 2
    assert config is None
    assert "copies" in err
    assert "grey" in err


def test_types_that_are_mixed(init, tmp_path):
    a, b = ((scale * noisy(seed=i)).clip(0).astype(kind) for i, (scale, kind) in enumerate([(255, "u1"), (4095, "u2")]))
    _, _, err = init(folder(tmp_path / "d", a, b))
    assert "uint8 (y0) and uint16 (y1)" in err


def camera(count: int = 4, gain: float = 2.0, offset: float = 100.0, read: float = 4.0) -> list[np.ndarray]:
    """Squares of 60 to 240 photons, as a camera saves them."""
    r = np.random.default_rng(0)
    photons = [r.poisson(300 * scene(96, i)) for i in range(count)]
    return [(gain * k + r.normal(offset, read, k.shape)).round().clip(0).astype("u2") for k in photons]


def test_a_camera(init, tmp_path):
    """Its gain is found within 10% and its offset within the bounds said; stated white noise is contradicted."""
    data = folder(tmp_path / "d", *camera())
    code, config, err = init(data)
    assert code in (0, None)
    assert err == ""
    assert config["noise"] == {"kind": "auto"}
    line = next(line for line in init.said.out.splitlines() if line.startswith("noise:"))
    said = dict(re.findall(r"(gain|read noise|offset) ([\d.]+)", line))
    assert line.startswith("noise: poisson-gaussian, ")
    assert "variance grows with the mean" in line
    assert float(said["gain"]) == pytest.approx(2, rel=0.1)
    assert float(said["offset"]) == pytest.approx(100, abs=15)
    (line,) = init(data, "--set", "noise.sigma=estimate")[2].splitlines()
    assert "grows with brightness" in line
    assert "noise.kind=auto" in line


def test_photon_counts(init, tmp_path):
    """The range begins at no photons, and the gain is the step of the values."""
    code, config, err = init(folder(tmp_path / "d", *camera(gain=3, offset=0, read=0)))
    assert code in (0, None), err
    assert config["data"]["value_range"][0] == 0
    assert "noise: poisson, gain 3 (variance is what whole photons make of the mean)" in init.said.out


def of_four(y: np.ndarray) -> np.ndarray:
    """The mean of each pixel and its neighbours: their noise is correlated."""
    return (y[1:, 1:] + y[:-1, 1:] + y[1:, :-1] + y[:-1, :-1]) / 4


def test_noise_that_neighbours_share(init, tmp_path):
    images = [of_four(noisy(seed=i, side=128)) for i in range(3)]
    init(folder(tmp_path / "d", *images))
    assert "correlated noise" in init.said.out
    assert "neighbours correlate by" in init.said.out


def test_noise_that_no_family_fits(init, tmp_path):
    """Neighbours that share their noise, which grows with the brightness: the line says so, beside the warning."""
    counts = [np.random.default_rng(i).poisson(30 * scene(256, i)) / 30 for i in range(4)]
    assert "not white" in init(folder(tmp_path / "d", *(of_four(y) for y in counts)))[2]
    assert "noise: no family fits (" in init.said.out


def test_a_level_that_is_stated_and_not_there(init, tmp_path):
    data = folder(tmp_path / "d", *(noisy(seed=i) for i in range(3)))
    assert init(data, "--set", "noise.sigma=0.1")[2] == ""
    assert "0.5 is what is stated" in init(data, "--set", "noise.sigma=0.5")[2]


def test_hot_pixels_do_not_stretch_the_range(init, tmp_path):
    images = [noisy(seed=i) for i in range(3)]
    for i, y in enumerate(images):
        y[np.random.default_rng(i).random(y.shape) < 0.002] = 8
    _, config, err = init(folder(tmp_path / "d", *images))
    assert config["data"]["value_range"] is None
    assert "hot pixels" in err


def test_an_image_too_small_is_named(init, tmp_path):
    code, _, err = init(folder(tmp_path / "d", noisy(), noisy(side=64)[:10]))
    assert code == 2
    assert "y1.npy" in err
    assert "10 pixels" in err
    np.save(tmp_path / "colour.npy", np.stack([noisy()] * 3, -1))
    assert "data.axes" in init(tmp_path / "colour.npy")[2]
