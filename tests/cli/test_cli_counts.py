"""Every command on counted photons: the gain is in the numbers of the files, and what comes out is in them too."""

import json

import numpy as np
import pytest
import tifffile
import torch
import yaml
from test_cli import SETS, call, refused

from unveil.random import make_generator
from unveil.runs import open_run

GAIN = 5
"""Numbers for each photon."""
COUNTS = ("--set", "noise.kind=poisson", "--set", f"noise.gain={GAIN}")
QUICK = ("--set", "sampling.samples=2", "--set", "sampling.steps=4")


def scene(side=64):
    """Photons per pixel, from 10 to 200."""
    t = torch.linspace(0, 3, side)
    return 105 + 95 * torch.sin(2 * t)[:, None] * torch.cos(t)[None]


def write(folder, count=3, factor=GAIN, offset=0, side=64):
    """TIFF of 16 bits, `factor` for each photon."""
    folder.mkdir()
    for i in range(count):
        photons = torch.poisson(scene(side), generator=make_generator("cpu", i))
        tifffile.imwrite(folder / f"y{i}.tif", (factor * photons + offset).numpy().astype(np.uint16))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """data/, unveil.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("counts")
    write(folder / "data")
    for words in (
        ("init", folder / "data", "--out", folder / "unveil.yaml", *SETS, *COUNTS),
        ("train", folder / "unveil.yaml", "--out", folder / "run"),
    ):
        code, text = call(*words)
        assert code == 0, text
        assert text == "", "nothing to warn of"
    return folder


def test_init_finds_a_range_that_begins_at_no_photons(workspace):
    written = yaml.safe_load((workspace / "unveil.yaml").read_text())
    assert written["noise"] == {"kind": "poisson", "gain": GAIN}
    low, high = written["data"]["value_range"]
    assert low == 0
    assert 200 * GAIN < high < 280 * GAIN
    assert float(open_run(workspace / "run").noise.gain) == pytest.approx(GAIN / high)


def test_estimates_are_in_the_numbers_of_the_files(workspace, tmp_path):
    assert call("denoise", workspace / "run", workspace / "data", "--out", tmp_path / "out")[0] == 0
    found = torch.from_numpy(tifffile.imread(tmp_path / "out" / "y0.tif"))
    assert float((found - GAIN * scene()).square().mean().sqrt()) < 4 * GAIN * 105**0.5
    assert float(found.mean()) == pytest.approx(GAIN * float(scene().mean()), rel=0.05)


def test_sample_evaluate_and_report(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")  # the pictures take seconds
    assert call("sample", workspace / "run", workspace / "data", *QUICK, "--out", tmp_path / "samples")[0] == 0
    samples = [tifffile.imread(tmp_path / "samples" / "y0" / f"sample_00{k}.tif") for k in range(2)]
    assert np.isfinite(samples).all()
    assert (samples[0] != samples[1]).any()
    assert call("evaluate", workspace / "run", *QUICK)[0] == 0
    record = json.loads((workspace / "run" / "evaluation.json").read_text())
    assert record["images"][0]["psnr_estimate"] is not None
    assert "poisson" in (workspace / "run" / "report.html").read_text()


def test_another_exposure_of_input_is_stated_by_its_gain(workspace, tmp_path):
    """The same numbers from half as many photons: other estimates."""
    outs = []
    for k, sets in enumerate([(), ("--set", f"noise.gain={2 * GAIN}")]):
        out = tmp_path / str(k)
        assert call("reconstruct", workspace / "run", workspace / "data", "--out", out, *sets)[0] == 0
        outs.append(tifffile.imread(out / "y0.tif"))
    assert np.abs(outs[0] - outs[1]).max() > 1
    line = refused("evaluate", workspace / "run", "--set", f"noise.gain={2 * GAIN}")
    assert "noise.gain=10" in line
    assert "give INPUT" in line


def test_a_level_is_refused_for_noise_that_has_none(workspace, tmp_path):
    line = refused("denoise", workspace / "run", workspace / "data", "--sigma", 0.1, "--out", tmp_path / "out")
    assert "the run's noise is poisson, gain 0.0" in line
    assert not (tmp_path / "out").exists()


def test_dry_runs_state_the_gain(workspace, tmp_path, capsys):
    for command in ("denoise", "sample"):
        words = (command, workspace / "run", workspace / "data", "--out", tmp_path / "out", "--dry-run")
        assert call(*words)[0] == 0
        assert "at gain 0.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "offset", "words"),
    [
        (GAIN, 2, "no whole number of photons of noise.gain"),
        (4 * GAIN, 0, "photons of this noise.gain would have"),
    ],
)
def test_what_contradicts_counts_is_said(factor, offset, words, tmp_path):
    data = write(tmp_path / "data", factor=factor, offset=offset, side=256)
    code, text = call("init", data, "--out", tmp_path / "c.yaml", *SETS, *COUNTS)
    assert code == 0
    assert words in text


def test_a_network_for_noise_of_one_level_is_refused(workspace, tmp_path):
    sets = [word for key in ("form=equivariant", "mean=null", "std=0.25") for word in ("--set", f"estimator.{key}")]
    line = refused("train", workspace / "unveil.yaml", *sets, "--out", tmp_path / "run")
    assert (
        "estimator.form = equivariant is for complete images in noise that their brightness or place does not" in line
    )
    assert not (tmp_path / "run").exists()


def test_the_family_that_auto_finds_is_recorded_and_used(tmp_path):
    """Poisson of the files' step; other parameters of INPUT are of the family found, and a level is of another."""
    write(tmp_path / "data", count=4, side=96)
    assert call("init", tmp_path / "data", "--out", tmp_path / "c.yaml", *SETS) == (0, "")
    config = yaml.safe_load((tmp_path / "c.yaml").read_text())
    assert config["noise"] == {"kind": "auto"}
    assert call("train", tmp_path / "c.yaml", "--out", tmp_path / "run") == (0, "")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["noise"]["kind"] == "poisson"
    assert float(open_run(tmp_path / "run").noise.gain) == pytest.approx(GAIN / config["data"]["value_range"][1])
    words = ("denoise", tmp_path / "run", tmp_path / "data", "--out", tmp_path / "out", "--dry-run")
    assert call(*words, "--set", f"noise.gain={GAIN}")[0] == 0
    assert "unknown key noise.read" in refused(*words, "--set", "noise.read=3")
    assert "the run's noise is poisson" in refused(*words, "--sigma", "0.1")
    code, text = call("train", tmp_path / "c.yaml", "--set", "noise.sigma=0.1", "--out", tmp_path / "other")
    assert code == 0, text
    assert open_run(tmp_path / "other").noise.fixed_level == pytest.approx(0.1)
