"""Killed at any moment at which it writes, a run goes on to the bit, and nothing half-written is taken for whole."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from small import SIGMA, configure, measure
from unveil.errors import UnveilWarning
from unveil.runs import create_run, train_run
from unveil.runs.contents import open_contents
from unveil.training.checkpoint import _check, read_weights

WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
KILLED, ENDED = 9, 0


def is_write(event, arguments, folder):
    """Whether an audit event is about to change something in `folder`."""
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else mode != "r"
        return bool(writes) and str(path).startswith(folder)
    if event in WRITES:
        relative = not str(arguments[0]).startswith("/")  # by the handle of its folder, as shutil.rmtree does
        return relative or str(arguments[0]).startswith(folder)
    return False


def process(work, folder, last):
    """Do `work` in a process that is killed at its write number `last`, counted from 1; whether it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event, arguments):
            nonlocal count
            if is_write(event, arguments, folder):
                count += 1
                if count == last:
                    if event == "open" and arguments[2] & os.O_TRUNC:
                        os.truncate(os.open(arguments[0], os.O_RDWR | os.O_CREAT), 0)  # it was opened, but not written
                    os._exit(KILLED)  # no clean-up, no buffer is written out

        code = 1
        try:
            sys.addaudithook(watch)
            warnings.simplefilter("error", UnveilWarning)  # nothing that a kill leaves looks damaged
            work()
            code = ENDED
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (KILLED, ENDED), code
    return code == KILLED


def all_is_whole(folder):
    """Every file that has its last name is what was written."""
    for path in folder.glob("[!.]*.json"):
        json.loads(path.read_text())
    if (folder / "data.json").exists():
        open_contents(folder)
    for checkpoint in folder.glob("checkpoints/step-*"):
        _check(checkpoint, 0)
    for weights in folder.rglob("*.safetensors"):
        if ".partial" not in str(weights) and not weights.name.startswith("."):
            read_weights(weights, "")


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "tensorboard" not in path.parts and path.name not in (".lock", "run.json")  # a date
    }


@pytest.mark.parametrize("first", [1, 47])
def test_killed_again_and_again_a_run_ends_as_one_that_was_not(first, tmp_path):
    if not torch.cuda.is_initialized():
        return kill_again_and_again(first, tmp_path)
    begin = [sys.executable, __file__, str(first), str(tmp_path)]  # a process that has used a GPU cannot be forked
    subprocess.run(begin, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)


def kill_again_and_again(first, tmp_path):
    """At the write number `first` of 66, then at the first, second, ... of those that resume it."""
    training = {"steps": 3, "batch": 1, "warmup": 1, "checkpoint_every": 1, "validate_every": 9}
    config = configure(
        measure(tmp_path / "data", count=2, side=16), training=training, estimator={"widths": [2]},
        sampling={"inflation": 0}, noise={"sigma": SIGMA},
    )  # fmt: skip

    def work(folder):
        train_run(create_run(folder, config), device="cpu")

    work(tmp_path / "whole")
    kills, run = 0, tmp_path / "run"
    while process(lambda: work(run), str(run), last=kills or first):
        all_is_whole(run)
        kills += 1
        assert kills < 60, "it never ends"
    assert kills > 5
    assert everything(run) == everything(tmp_path / "whole")


if __name__ == "__main__":
    kill_again_and_again(int(sys.argv[1]), Path(sys.argv[2]))
