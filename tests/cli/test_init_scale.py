"""unveil init turns scales off where the images have a scale of their own, and says so."""

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import yaml

from unveil.checks.look import middle
from unveil.cli import main
from unveil.data import ImageSource, save_image
from unveil.random import make_generator, normal


def write(folder: Path, name: str, count: int = 2, side: int = 190) -> Path:
    """Noisy parts of a picture of scikit-image, as TIFF."""
    folder.mkdir()
    x = torch.tensor(getattr(skimage.data, name)(), dtype=torch.float32)[None] / 255
    for i in range(count):
        part = x[:, :side, i * side : (i + 1) * side]
        save_image(folder / f"y{i}.tif", part + 0.1 * normal(part, make_generator("cpu", i)))
    return folder


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    """init(folder, *sets) -> (loss.scales as written, None where it is not; what was printed on one line)."""

    def run(folder, *sets):
        out = tmp_path / "c.yaml"
        words = ["unveil", "init", str(folder), "--out", str(out), "--force"]
        monkeypatch.setattr(sys, "argv", words + [word for text in sets for word in ("--set", text)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        assert caught.value.code in (0, None), printed.err
        return yaml.safe_load(out.read_text())["loss"].get("scales"), printed.out + printed.err

    return run


def test_pages_are_not_dilated(init, tmp_path):
    scales, printed = init(write(tmp_path / "pages", "page"))
    assert scales == [1]
    (line,) = [line for line in printed.splitlines() if "loss.scales" in line]
    assert "scale of their own" in line
    assert "--set loss.scales=[1,2,4]" in line


def test_photographs_are_dilated(init, tmp_path):
    scales, printed = init(write(tmp_path / "photographs", "camera"))
    assert scales == [1, 2, 4]
    assert "loss.scales" not in printed


def test_what_the_user_sets_stays(init, tmp_path):
    folder = write(tmp_path / "pages", "page")
    scales, printed = init(folder, "loss.scales=[1,2,4]")
    assert scales == [1, 2, 4]
    assert "loss.scales" not in printed
    assert init(folder, "loss.scales=[1,2]")[0] == [1, 2]


@pytest.mark.parametrize(("setting", "written"), [("loss.recipe=nsure", None), ("training.crop=128", [1, 2, 4])])
def test_it_is_silent_where_nothing_would_be_dilated(setting, written, init, tmp_path):
    scales, printed = init(write(tmp_path / "pages", "page"), setting)
    assert scales == written
    assert "loss.scales" not in printed


def test_small_images_get_no_verdict(init, tmp_path):
    scales, printed = init(write(tmp_path / "small", "page", side=60), "training.crop=16")
    assert scales == [1, 2, 4]
    assert "loss.scales" not in printed


def test_at_most_32_windows_are_read(init, tmp_path, monkeypatch):
    windows = []
    read = ImageSource.read

    def spy(self, i, window=None):
        windows.append(None if window is None else (self.where(i), window))
        return read(self, i, window)

    folder = write(tmp_path / "pages", "page", count=1)
    for i in range(1, 70):
        (folder / f"y{i}.tif").write_bytes((folder / "y0.tif").read_bytes())
    monkeypatch.setattr(ImageSource, "read", spy)
    assert init(folder)[0] == [1]
    assert len({window for window in windows if window is not None}) in range(20, 33)  # the same for every check


def test_windows_lie_in_the_middle():
    assert middle((1, 2000, 300)) == (744, 0, 512, 300)


@pytest.mark.parametrize("size", [1e22, 1e-28])
def test_the_range_of_numbers_of_any_size_is_found(init, tmp_path, size):
    """Column densities and radiances: one more or less is nothing beside them, or all."""
    y = 3 + normal(torch.ones(4, 64, 64), make_generator("cpu", 0)).double().numpy()
    np.save(tmp_path / "y.npy", size * y)
    init(tmp_path / "y.npy")
    low, high = yaml.safe_load((tmp_path / "c.yaml").read_text())["data"]["value_range"]
    assert [low / size, high / size] == pytest.approx([y.min(), y.max()], abs=1)
