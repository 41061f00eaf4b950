"""A camera with saturated and dead pixels, from init to evaluate: found, said, written, and never learned from."""

import sys

import numpy as np
import pytest
import tifffile
import yaml

from unveil.checks.fit import Fit
from unveil.cli import main

SIDE, TOP = 96, 220


@pytest.fixture
def unveil(monkeypatch, capsys):
    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["unveil", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert (caught.value.code or 0) == code, said.err
        return said

    return run


@pytest.fixture
def camera(tmp_path):
    """Eight scenes of squares, some of them saturated; three pixels are hot. Counts of gain 2, offset 20."""
    r, faulty = np.random.default_rng(0), ([5, 40, 77], [60, 33, 8])
    (tmp_path / "y").mkdir()
    for i in range(8):
        x = r.uniform(5, 40, (SIDE // 16, SIDE // 16))
        x[3, i % 6] = 100  # saturates at times
        x = x.repeat(16, 0).repeat(16, 1)
        y = 20 + 2 * r.poisson(x) + r.normal(0, 2, x.shape)
        y[faulty] = 215 - i
        tifffile.imwrite(tmp_path / "y" / f"{i}.tif", np.clip(y.round(), 0, TOP).astype(np.uint8))
    return tmp_path, faulty


def test_faulty_pixels_from_init_to_evaluate(camera, unveil, monkeypatch):
    folder, faulty = camera
    said = unveil("init", folder / "y", "--out", folder / "c.yaml").out
    assert "are saturated, at 220: they count as missing (data.saturated)" in said.replace("\n", " ")
    config = yaml.safe_load((folder / "c.yaml").read_text())
    assert config["data"]["saturated"] == pytest.approx(TOP)
    assert config["data"]["dead"] == str(folder / "c-dead.npy"), "beside the configuration"
    dead = np.load(folder / "c-dead.npy")[0]
    assert sorted(zip(*np.nonzero(dead))) == sorted(zip(*faulty))
    sets = [
        w for key, value in {"steps": 3, "crop": 16, "batch": 4}.items() for w in ("--set", f"training.{key}={value}")
    ]
    sets += ["--set", "estimator.widths=[8,8]", "--set", "sampling.inflation=0"]
    unveil("train", folder / "c.yaml", "--out", folder / "run", *sets)
    unveil("denoise", folder / "run", folder / "y", "--out", folder / "x")
    x = tifffile.imread(folder / "x" / "0.tif")
    assert np.isfinite(x).all(), "faulty pixels are filled in"
    said = unveil("evaluate", folder / "run", "--sampled", 0)
    assert "not valid" not in said.out
    assert "errors without a reference are of the others" in said.err.replace("\n", " ")
    why = "its variance is another"
    monkeypatch.setattr("unveil.cli.evaluate.model_fit", lambda *_, **__: Fit("does not fit", why))
    said = unveil("evaluate", folder / "run", "--sampled", 0, code=5)
    assert f"the noise model does not fit: {why}" in said.err, "and not because pixels are faulty"
