"""unveil check on configurations with files: what is printed, and what is written."""

import json

import numpy as np
import pytest
import torch

from unveil.cli.check import run_check
from unveil.config_file import load_config
from unveil.errors import UnveilError
from unveil.operators import cartesian_mask, mri
from unveil.random import make_generator, normal


@pytest.fixture
def scan(tmp_path):
    """config.yaml of six k-space measurements 16 x 16 at 2 x acceleration."""
    mask = cartesian_mask(16, 16, 2, 0.25, make_generator("cpu", 1))
    operator = mri(mask)
    x = normal(torch.empty(6, 2, 16, 16), make_generator("cpu", 2))
    y = operator.A(x) + 0.1 * operator.project(normal(x, make_generator("cpu", 3)))
    np.save(tmp_path / "y.npy", torch.complex(y[:, 0], y[:, 1]).numpy())
    np.save(tmp_path / "mask.npy", mask.numpy())
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{path: {tmp_path}/y.npy, axes: NHW}}\noperator: {{kind: mri, mask: {tmp_path}/mask.npy}}\n"
        "noise: {sigma: 0.1}\n"
    )
    return config


def test_shifts_do_not_help_a_scan(scan, tmp_path, capsys):
    verdict = run_check(scan, ["loss.symmetry=[shift]"], tmp_path / "found")
    printed = capsys.readouterr().out
    assert not verdict.learnable
    assert "mri, 6 measurements; symmetries: shift" in printed
    assert "cannot be learned as it is" in printed
    assert "A commutes with shift" in printed
    assert "never seen: 128 of 256 frequencies (kx = " in printed
    assert "to do: add quarter or rotate" in printed
    assert "the noise level was not looked for in the data: entries are missing" in printed
    record = json.loads((tmp_path / "found" / "check.json").read_text())
    assert record["learnable"] is False
    assert record["symmetry"] == ["shift"]
    assert record["alone"]["rank"] == 256
    assert (tmp_path / "found" / "check.png").read_bytes().startswith(b"\x89PNG")
    assert load_config(tmp_path / "found" / "config.yaml") == load_config(scan, ["loss.symmetry=[shift]"])


def test_rotations_do(scan, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run_check(scan, ["loss.symmetry=[shift, rotate]"], None).learnable
    assert "can be learned\n" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_symmetry(scan, capsys):
    assert not run_check(scan, ["loss.symmetry=[]"], None).learnable
    assert "symmetries: none" in capsys.readouterr().out


def test_images_of_different_sizes(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, side in enumerate((64, 80, 96)):
        x = 0.5 + 0.1 * normal(torch.empty(side, side), make_generator("cpu", 4, i))
        np.save(folder / f"y{i}.npy", x.numpy())
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{path: {folder}}}\nnoise: {{sigma: 0.2}}\n")
    assert run_check(config, [], None).learnable
    printed = capsys.readouterr().out
    assert "noise level found in the data: 0.1" in printed
    assert "not 0.2 as declared" in printed


def test_a_symmetry_that_is_not_known(scan):
    with pytest.raises(UnveilError, match="'rotations': must be 'shift'"):
        run_check(scan, ["loss.symmetry=[rotations]"], None)


def test_a_contradiction_is_said_with_the_verdict(scan, tmp_path, capsys):
    """The mask of the other convention: what is measured is zero, and the rest is not."""
    np.save(tmp_path / "mask.npy", ~np.load(tmp_path / "mask.npy"))
    run_check(scan, ["loss.symmetry=[]"], tmp_path / "found")
    head, line, *_ = capsys.readouterr().out.split("symmetries: none\n")[1].splitlines()
    assert head == "cannot be learned as it is, were all that is said of the data right; but they contradict it:"
    assert "is it inverted" in line
    assert "is it inverted" in json.loads((tmp_path / "found" / "check.json").read_text())["contradictions"][0]


def test_counted_photons_are_not_noise_of_one_level(tmp_path, capsys):
    """Images with noise are checked as other measurements are."""
    ramp = torch.linspace(0.05, 1, 128).expand(128, 128)
    for i in range(4):
        y = torch.poisson(20 * ramp, make_generator("cpu", 5, i)) / 20
        np.save(tmp_path / f"y{i}.npy", y.numpy())
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{path: {tmp_path}, value_range: [0, 1]}}\nnoise: {{sigma: 0.15}}\n")
    verdict = run_check(config, [], None)
    assert "grows with brightness" in verdict.contradictions[0]
    assert "but they contradict it:" in capsys.readouterr().out


def test_whether_the_noise_fits_is_said(tmp_path, capsys, monkeypatch):
    """Stated, or found in the images."""
    monkeypatch.setattr("unveil.cli.check.draw_spectrum", lambda found: b"")
    for i in range(6):
        y = torch.poisson(torch.linspace(2, 20, 96).expand(96, 96), make_generator("cpu", 6, i))
        np.save(tmp_path / f"y{i}.npy", y.numpy())
    config = tmp_path / "config.yaml"
    said = []
    for kind in ("poisson, gain: 1", "poisson, gain: 1.5", "gaussian"):
        config.write_text(f"data: {{path: {tmp_path}, value_range: [0, 40]}}\nnoise: {{kind: {kind}}}\n")
        verdict = run_check(config, [], tmp_path / "found", force=True)
        record = json.loads((tmp_path / "found" / "check.json").read_text())
        said.append((record["fit"]["verdict"], bool(verdict.contradictions)))
    assert said == [("fits", False), ("does not fit", True), ("does not fit", True)]
    assert "  the noise model fits" in capsys.readouterr().out.splitlines()
