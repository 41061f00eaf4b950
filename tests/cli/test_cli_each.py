"""Commands on images that were stretched one by one: the noise is found in each, in training and at use."""

import json

import numpy as np
import pytest
import tifffile
import torch
import yaml
from test_cli import SETS, call

import unveil
from unveil.data.cells import heldout_cells, training_cells
from unveil.random import make_generator

PHOTONS, READ = 40, 1.5


def write(folder, cells, gains):
    """8 bit, `gains` grey levels a photon."""
    folder.mkdir()
    for i, (x, gain) in enumerate(zip(cells.values(), gains)):
        g = make_generator("cpu", i)
        z = torch.poisson(PHOTONS * x, generator=g) + READ * torch.randn(x.shape, generator=g)
        tifffile.imwrite(folder / f"y{i}.tif", (gain * z + 20).round().clip(0, 255)[0].numpy().astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("each")
    write(folder / "data", training_cells(), (1, 2, 3, 5))
    code, text = call("init", folder / "data", "--out", folder / "unveil.yaml", *SETS)
    assert code == 0, text
    assert text == "", "nothing to warn of"
    code, text = call("train", folder / "unveil.yaml", "--out", folder / "run")
    assert (code, text) == (0, "")
    return folder


def test_the_configuration_says_what_was_found_and_the_run_what_is_common(workspace):
    text = (workspace / "unveil.yaml").read_text()
    assert yaml.safe_load(text)["noise"] == {"kind": "auto"}
    assert "found in the data: poisson-gaussian, of each image its own: gain" in text
    noise = json.loads((workspace / "run" / "run.json").read_text())["noise"]
    assert noise.keys() == {"kind", "per_image", "electrons", "dark"}
    assert (noise["kind"], noise["per_image"]) == ("poisson-gaussian", True)


def test_other_images_are_used_with_gains_that_are_found_in_them(workspace, tmp_path):
    gains = (1.2, 4.5)
    write(tmp_path / "other", heldout_cells(), gains)
    tifffile.imwrite(tmp_path / "other" / "y9.tif", np.full((64, 64), 7, np.uint8))
    code, text = call("denoise", workspace / "run", tmp_path / "other", "--out", tmp_path / "out")
    assert code == 3, text
    assert "y9" in text
    assert "the noise of this image cannot be found" in text
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tif")) == ["y0.tif", "y1.tif"]
    model = unveil.open_run(workspace / "run")
    y = torch.stack(
        [torch.from_numpy(tifffile.imread(tmp_path / "other" / f"y{i}.tif") / 255)[None].float() for i in range(2)]
    )
    m = model.measurement(y)
    assert (255 * m.noise.gain).tolist() == pytest.approx(gains, rel=0.15)
    written = torch.from_numpy(tifffile.imread(tmp_path / "out" / "y1.tif"))
    torch.testing.assert_close(255 * model(y)[1, 0], written, rtol=1e-3, atol=0.5)
    assert "poissongaussian noise, the gain of each image its own" in repr(model)


def test_evaluate_judges_each_image_by_its_own_noise(workspace, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")
    code, text = call("evaluate", workspace / "run", "--sampled", 0)
    assert code == 0, text
    assert "gain" not in text
