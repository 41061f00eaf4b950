"""Several processes: they learn what one would from the joint batch, resume to the bit, and end together.

One pair of processes does all of it (`pair.py`), a pair under torchrun is stopped by Ctrl-C.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pair
import pytest
import torch
import yaml
from safetensors.torch import load_file

from small import measure
from unveil.errors import UnveilWarning
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.training import latest_checkpoint, load_weights, read_metrics, train

TIMEOUT = 240
"""Seconds until a process that waits for ever is ended."""


def configuration(folder, **training):
    values = {
        "data": {"path": str(measure(folder / "data")), "validation": 0.2},
        "noise": {"sigma": 0.1},
        "estimator": {"widths": [4]},
        "loss": {"scales": [1]},
        "training": {"steps": 2, "batch": 2, "crop": 8, "warmup": 0, "checkpoint_every": 1, **training},
        "em": {"rounds": 1, "steps": 1, "images": 3, "draw_steps": 2},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return folder / "run.yaml"


def imaging_configuration(folder):
    generator = np.random.default_rng(0)
    mask = generator.random((16, 16)) < 0.7
    np.save(folder / "mask.npy", mask)
    np.save(folder / "y.npy", generator.random((8, 16, 16)).astype("float32") * mask)
    values = {
        "data": {"path": str(folder / "y.npy"), "validation": 0.25},
        "operator": {"kind": "inpainting", "mask": str(folder / "mask.npy")},
        "noise": {"sigma": 0.1},
        "estimator": {"widths": [4]},
        "training": {"steps": 2, "batch": 2, "warmup": 0},
    }
    (folder / "imaging.yaml").write_text(yaml.safe_dump(values))


def environment(**values):
    source = str(Path(sys.modules["unveil"].__file__).parents[1])
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", **values}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """(folder, reports, exit codes) of the pair."""
    folder = tmp_path_factory.mktemp("pair")
    configuration(folder)
    imaging_configuration(folder)
    pairs = [
        subprocess.Popen(
            [sys.executable, str(Path(pair.__file__)), str(folder)],
            env=environment(RANK=str(r), WORLD_SIZE="2", LOCAL_RANK=str(r), LOCAL_WORLD_SIZE="2"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(2)
    ]
    try:
        errors = [process.communicate(timeout=TIMEOUT)[1] for process in pairs]
    finally:
        for process in pairs:
            process.kill()
    paths = [folder / f"report-{r}.json" for r in range(2)]
    assert all(path.is_file() for path in paths), "\n".join(errors)
    return folder, [json.loads(path.read_text()) for path in paths], [process.returncode for process in pairs]


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_two_processes_learn_what_one_does_from_the_joint_batch(ended, tmp_path):
    """The same weights within rounding: the mean over 6 is summed in another order, in double precision."""
    folder, _, _ = ended
    step = iter(range(pair.STEPS))
    now = 0

    def joint_batch(generator):
        nonlocal now
        now = next(step)
        parts = [pair.batch_of(make_generator("cpu", 5, now, r)) for r in range(2)]
        return replace(parts[0], y=torch.cat([m.y for m in parts]), noise=Gaussian(torch.cat([m.level for m in parts])))

    def joint_loss(f, m, generator):
        parts = [m[: pair.BATCH], m[pair.BATCH :]]
        return torch.cat([pair.loss(f, part, make_generator("cpu", 5, now, r, 1)) for r, part in enumerate(parts)])

    one = train(pair.network(), joint_loss, joint_batch, pair.settings(), tmp_path, seed=5, device="cpu")
    two = [load_file(folder / f"two-{r}.safetensors") for r in range(2)]
    assert equal(*two)
    untrained = pair.network().state_dict()
    moved = max(float((two[0][name] - value).norm()) for name, value in untrained.items())
    apart = max(float((two[0][name] - value).norm()) for name, value in one.state_dict().items())
    assert moved > 1e-3
    assert apart < 1e-9  # Adam divides by the gradient's size: 1e-16 grows where a gradient is almost 0


def test_two_processes_resume_to_the_bit_and_the_first_alone_writes(ended):
    folder, reports, _ = ended
    for report in reports:  # the signal came to the second alone
        known, text, code = report["interrupted"]
        assert known
        assert "stopped at step 3 of 6" in text
        assert code == 128 + signal.SIGTERM
    for r in range(2):
        assert equal(load_file(folder / f"two-{r}.safetensors"), load_file(folder / f"parts-{r}.safetensors"))
    for name in ("two", "parts"):
        assert [line["step"] for line in read_metrics(folder / name)] == [1, 2, 3, 4, 5, 6]
        assert len(list((folder / name / "tensorboard").iterdir())) == (1 if name == "two" else 2)


def test_another_number_of_processes_goes_on_with_a_warning(ended):
    folder, _, _ = ended
    assert json.loads((folder / "failed/checkpoints/step-00000002/state.json").read_text())["processes"] == 2
    with pytest.warns(UnveilWarning, match=r"of 2 processes, and 1 go on"):
        train(pair.network(), pair.loss, pair.batch_of, pair.settings(), folder / "failed", seed=5, device="cpu")


def test_an_error_in_one_process_ends_all_and_is_said_by_it(ended):
    _, (first, second), _ = ended
    assert first["failed"] == [True, "process 1 of 2: y1.tif: cannot be read; step 3 of 6 is saved", 2]
    assert second["failed"] == [False, "y1.tif: cannot be read; step 3 of 6 is saved", 2]
    code, said = first["unreadable"]
    assert code == 2
    assert said.startswith("reading the data 5/5")
    assert said.count("\n") == 1
    assert second["unreadable"] == [2, "unveil: y1.tif: cannot be read\n"]


def test_draws_are_shared_and_do_not_depend_on_how_many_share_them(ended):
    _, (first, second), _ = ended
    assert first["made"] == [0, 2, 4]
    assert second["made"] == [1, 3]
    alone = [torch.randn(1, 2, 2, generator=make_generator("cpu", 7, i)).tolist() for i in range(5)]
    assert first["draws"] == second["draws"] == alone


def test_a_command_of_several_processes_speaks_once_and_ends_with_its_files(ended):
    folder, (first, second), _ = ended
    for name in ("run", "imaging"):
        assert first[name][0] == 0
        assert "trained; next: unveil evaluate" in first[name][1]
        assert second[name] == [0, ""]
        assert (folder / name / "model.safetensors").is_file()
    assert json.loads((folder / "run" / "round-1/checkpoints/step-00000001/state.json").read_text())["processes"] == 2
    assert first["alone"] == [
        2,
        "unveil: unveil evaluate runs in one process: start it without torchrun or accelerate\n",
    ]
    assert second["alone"] == [2, ""]


def test_a_killed_process_ends_the_other_and_leaves_a_whole_checkpoint(ended):
    folder, (first, _), codes = ended
    assert codes == [0, -signal.SIGKILL]
    assert first["killed"][0].startswith("another process of the training ended")
    assert first["killed"][1] == 1
    newest = latest_checkpoint(folder / "killed" / "checkpoints")
    assert newest.name == "step-00000005"  # the last step that both ended, though checkpoints are written every second
    load_weights(newest / "model.safetensors", pair.network())


def test_ctrl_c_under_torchrun_saves_the_step_and_ends_all(tmp_path):
    config = configuration(tmp_path, steps=10**6, checkpoint_every=10**6)
    folder = tmp_path / "run"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--rdzv_endpoint",
        "localhost:0",
        "--rdzv_backend",
        "c10d",
        "-m",
        "unveil",
        "train",
        str(config),
        "--out",
        str(folder),
        "--device",
        "cpu",
    ]
    with subprocess.Popen(launch, env=environment(), stderr=subprocess.PIPE, text=True) as torchrun:
        try:
            began = time.monotonic()
            while not read_metrics(folder) and time.monotonic() - began < TIMEOUT:
                assert torchrun.poll() is None, torchrun.stderr.read()
                time.sleep(0.1)
            torchrun.send_signal(signal.SIGINT)
            said = torchrun.communicate(timeout=TIMEOUT)[1]
        finally:
            torchrun.kill()
    assert torchrun.returncode != 0
    lines = [line for line in said.splitlines() if line.startswith("unveil: ")]
    last = read_metrics(folder)[-1]["step"]
    assert lines == [f"unveil: stopped at step {last} of 1000000, saved in {folder}; resume with unveil train {folder}"]
    newest = latest_checkpoint(folder / "checkpoints")
    assert newest.name == f"step-{last:08d}"
    assert json.loads((newest / "state.json").read_text())["processes"] == 2
