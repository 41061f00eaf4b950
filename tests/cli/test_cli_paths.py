"""A run is used from any folder, and moved along with its data; data that are not there are named by their key."""

import shutil
import sys

import pytest
import torch

from unveil.cli import main
from unveil.data import save_image
from unveil.random import make_generator, normal

TINY = ("training.steps=2", "training.warmup=1", "training.batch=2", "training.crop=16", "estimator.widths=[4]",
        "sampling.inflation=0")  # fmt: skip


def call(*words):
    argv = sys.argv
    sys.argv = ["unveil", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = argv


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """lab/images, lab/unveil.yaml and lab/runs/unveil, made in lab by relative paths."""
    (tmp_path / "lab").mkdir()
    monkeypatch.chdir(tmp_path / "lab")
    for i in range(3):
        (tmp_path / "lab" / "images").mkdir(exist_ok=True)
        save_image(tmp_path / "lab" / "images" / f"y{i}.tif", normal(torch.zeros(1, 32, 32), make_generator("cpu", i)))
    sets = [word for setting in TINY for word in ("--set", setting)]
    assert call("init", "images", "--out", "unveil.yaml", *sets) == 0
    assert call("train", "unveil.yaml") == 0
    return tmp_path / "lab"


def test_a_run_is_used_from_anywhere_and_moves_with_its_data(trained, tmp_path, monkeypatch, capsys):
    assert "path: images  #" in (trained / "unveil.yaml").read_text()
    assert "path: ../../images  #" in (trained / "runs" / "unveil" / "config.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    assert call("evaluate", "lab/runs/unveil", "--sampled", 0) == 0
    assert call("train", "lab/unveil.yaml", "--out", "lab/runs/unveil") == 0, (
        "the same configuration from another folder"
    )
    assert "is trained already" in " ".join(capsys.readouterr().out.split())
    trained.rename(tmp_path / "moved")
    assert call("evaluate", "moved/runs/unveil", "--sampled", 0) == 0


def test_a_configuration_whose_name_is_not_unicode(trained):
    (trained / "unveil.yaml").rename(trained / "c\udcff.yaml")
    assert call("train", "c\udcff.yaml", "--out", "again") == 0
    assert call("evaluate", "again", "--sampled", 0) == 0


def test_data_that_are_not_there_are_named(trained, tmp_path, capsys):
    shutil.move(trained / "images", tmp_path / "images")
    assert call("evaluate", "runs/unveil", "--sampled", 0) == 2
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0
    assert "images does not exist, the data.path of runs/unveil/config.yaml" in line
    assert "give INPUT" in line
    assert call("evaluate", "runs/unveil", tmp_path / "images", "--sampled", 0) == 0
