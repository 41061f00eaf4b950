"""unveil train as a batch job meets it: its log in a file, two of it at once, runs that others have touched."""

import shutil

import pytest
from test_cli import SETS, call, refused, write_images

from unveil.runs.folder import writing


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with data/, unveil.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("train")
    write_images(folder / "data")
    assert call("init", folder / "data", "--out", folder / "unveil.yaml", *SETS)[0] == 0
    assert call("train", folder / "unveil.yaml", "--out", folder / "run")[0] == 0
    return folder


@pytest.fixture
def run(workspace, tmp_path):
    """A copy of the trained run."""
    return shutil.copytree(workspace / "run", tmp_path / "run")


def test_a_log_has_a_line_at_each_validation(workspace, tmp_path, capfd):
    assert call("train", workspace / "unveil.yaml", "--out", tmp_path / "run")[0] == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("training ")]
    assert [line.split(",")[0] for line in lines] == ["training 3/6", "training 6/6"]
    assert "left" in lines[0]
    assert all("held-out PSNR est." in line for line in lines)


def test_one_command_at_a_time_writes_a_run(workspace, run):
    (run / "model.safetensors").unlink()
    with writing(run):
        assert "process" in refused("train", run)
    assert call("train", run)[0] == 0
    with writing(run):
        assert "writes there" in refused("evaluate", run)
        assert "writes there" in refused("report", run)
        assert call("denoise", run, workspace / "data", "--out", run.parent / "out")[0] == 0, "reading goes on"
