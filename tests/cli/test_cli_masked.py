"""Every command on measurements that hold NaN where their mask says that nothing was measured: as if zeros stood
there."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_cli import call
from test_cli_imaging import COUNT, SAMPLING, SIGMA, write_config, write_measurements

from unveil.data import open_images


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """zero/ and nan/, each with y.npy, mask.npy, c.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("masked")
    for name, value in {"zero": 0.0, "nan": np.nan}.items():
        (folder / name).mkdir()
        y, keep = write_measurements(folder / name)
        np.save(folder / name / "y.npy", torch.where(keep, y, value).numpy())
        code, text = call("train", write_config(folder / name), "--out", folder / name / "run")
        assert code == 0, text
    return folder


def test_training_sees_none_of_it(workspace):
    expected = load_file(workspace / "zero" / "run" / "model.safetensors")
    for key, value in load_file(workspace / "nan" / "run" / "model.safetensors").items():
        assert torch.equal(value, expected[key]), key


def test_init_check_denoise_sample_and_evaluate(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")  # the pictures take seconds
    folder = workspace / "nan"
    system = ("--set", f"operator.mask={folder / 'mask.npy'}", "--set", f"noise.sigma={SIGMA}")
    words = {
        "init": ("inpainting", folder / "y.npy", *system, "--out", tmp_path / "init.yaml"),
        "check": (folder / "c.yaml",),
        "denoise": (folder / "run", folder / "y.npy", "--out", tmp_path / "denoised"),
        "sample": (folder / "run", folder / "y.npy", *SAMPLING, "--out", tmp_path / "samples"),
        "evaluate": (folder / "run", folder / "y.npy", "--reference", folder / "x.npy", "--sampled", 0),
    }
    for command, arguments in words.items():
        code, text = call(command, *arguments)
        assert code == 0, text
    assert call("denoise", workspace / "zero/run", workspace / "zero/y.npy", "--out", tmp_path / "zero")[0] == 0
    for i in range(COUNT):
        found, expected = (open_images(tmp_path / of).read(i) for of in ("denoised", "zero"))
        assert torch.equal(found, expected)
    record = json.loads((folder / "run" / "evaluation.json").read_text())
    assert len(record["images"]) == COUNT
