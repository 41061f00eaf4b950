"""The run folder while it is written: by one process, nowhere else, and without what a kill left."""

import errno
import os
import signal
import time

import pytest

from unveil.errors import UnveilError, UnveilWarning
from unveil.runs import folder as module
from unveil.runs.folder import writing


def test_a_second_writer_is_refused_and_the_next_is_not(tmp_path):
    with (
        writing(tmp_path),
        pytest.raises(UnveilError, match=rf"{tmp_path}: process {os.getpid()} writes there; wait"),
        writing(tmp_path),
    ):
        pytest.fail("two at once")
    with writing(tmp_path):
        pass


def test_the_lock_dies_with_its_process(tmp_path):
    """Killed, it leaves nothing that would have to be removed by hand."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with writing(tmp_path):
            os.write(writer, b"in")
            time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reader, 2) == b"in"
        with pytest.raises(UnveilError, match=f"process {child} writes there"), writing(tmp_path):
            pytest.fail("two at once")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    with writing(tmp_path):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", none)
    with pytest.warns(UnveilWarning, match="has no locks"), writing(tmp_path):
        pass


def test_other_processes_of_a_training_do_not_lock(tmp_path, monkeypatch):
    with writing(tmp_path):
        monkeypatch.setattr(module, "is_first", lambda: False)
        with writing(tmp_path):
            pass


def test_left_overs_go_and_everything_else_stays(tmp_path):
    ours = [
        ".run.0123abcd.json", ".model.ffffffff.safetensors", "checkpoints/.step-00000004.partial/model.safetensors",
        "round-1/draws.zarr/000000/c/0.0123456789abcdef0123456789abcdef.partial", "round-1/.sampler.00000000.json",
    ]  # fmt: skip
    others = [".hidden", ".notes.txt", "notes.0123abcd.txt", ".a.0123abcz.json", "checkpoints/step-00000002/state.json"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with writing(tmp_path):
        assert not [name for name in ours if (tmp_path / name).exists()]
        assert not (tmp_path / "checkpoints" / ".step-00000004.partial").exists()
        assert [(tmp_path / name).read_text() for name in others] == others


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "checkpoints", "round-1/metrics.jsonl", ".lock", ".run.0123abcd.json", "gone"]
)
def test_links_are_refused_and_not_followed(name, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    target = {"checkpoints": elsewhere, "gone": elsewhere / "none"}.get(name, elsewhere / "file")
    (run / name).symlink_to(target)
    with pytest.raises(UnveilError, match=r"is a link|cannot be written") as caught, writing(run):
        pytest.fail("followed")
    assert "\n" not in str(caught.value)
    assert str(run / name) in str(caught.value)
    assert (elsewhere / "file").read_text() == "precious"
    (tmp_path / "link").symlink_to(elsewhere)
    with writing(tmp_path / "link"):
        pass  # the folder itself may be reached by one
