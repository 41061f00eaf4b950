"""README's Python runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from unveil.config import parse_config
from unveil.data import save_image
from unveil.training import create_run, train_run

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder that holds runs/unveil, tiny and trained on colour images."""
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "y.tif", torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)))
    training = {"steps": 1, "warmup": 0, "batch": 2, "crop": 16}
    config = {"data": {"path": "y.tif"}, "noise": {"sigma": 0.1}, "estimator": {"widths": [4, 4]}, "training": training}
    train_run(create_run(Path("runs/unveil"), parse_config(config, "test")), device="cpu")


@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block, workspace):
    names = {}
    exec(block, names)
    if "x" in names:
        assert names["x"].shape == (8, 1, 3, 64, 64)
    assert callable(names["f"])


def test_there_are_blocks():
    assert len(BLOCKS) == 2


def test_the_first_screen_shows_both_commands_and_a_picture_that_exists():
    screen = "\n".join(README.read_text().splitlines()[:20])
    assert "pip install . && unveil demo" in screen
    assert "pip install '.[test]' && pytest" in screen
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", screen)
    assert (README.parent / picture).is_file()
