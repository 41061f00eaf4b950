"""What each of the two processes of `test_training_ranks` does, one thing after the other: python pair.py FOLDER."""

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from unveil.config import TrainingConfig
from unveil.data import MemorySource
from unveil.errors import Elsewhere, UnveilError
from unveil.estimators import Preconditioned, UNet
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training import Interrupted, ranks, train
from unveil.training.draws import make_draws

STEPS, BATCH = 6, 3
LEVEL = 0.1


def network():
    """In double precision, so that the order of a sum shows in the 16th digit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Preconditioned(UNet(1, (4, 4))).double()


def batch_of(generator):
    y = torch.rand(BATCH, 1, 8, 8, generator=generator, dtype=torch.float64)
    return Measurement(y, Identity(), Gaussian(torch.full((BATCH,), LEVEL).double()))


def loss(f, m, generator):
    """Noise2Noise' loss with noise of its own: random, so that each process' draws matter."""
    return m.mean_square(f(m.at(m.noise.sample(m.y, generator))) - m.y)


def settings(**values):
    return TrainingConfig(**{"steps": STEPS, "warmup": 2, "checkpoint_every": 2, "learning_rate": 1e-2, **values})


def weights(f):
    return {name: value.contiguous() for name, value in f.state_dict().items()}


class At:
    """Batches, and something else at step `step` (from 0) of process `rank`."""

    def __init__(self, step, rank, action):
        self.now, self.step, self.rank, self.action = 0, step, rank, action

    def __call__(self, generator):
        if self.now == self.step and ranks.index() == self.rank:
            self.action()
        self.now += 1
        return batch_of(generator)


def attempt(folder, batches=batch_of):
    """The weights, or the exception."""
    try:
        return weights(train(network(), loss, batches, settings(), folder, seed=5, device="cpu"))
    except UnveilError as error:
        return error


def terminate():
    """As a cluster does, whose launcher passes on what the processes got already."""
    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)


def unreadable():
    raise UnveilError("y1.tif: cannot be read")


def command_line(*words):
    """(exit code, stdout and stderr) of unveil in this process."""
    from unveil.cli import main

    said = io.StringIO()
    sys.argv = ["unveil", *map(str, words)]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            return end.code, said.getvalue()


def run(folder):
    report = {}
    me = ranks.index()

    whole = attempt(folder / "two")
    save_file(whole, folder / f"two-{me}.safetensors")

    # a signal that reaches the second process alone, during step 3
    first = attempt(folder / "parts", At(2, 1, terminate))
    report["interrupted"] = [isinstance(first, Interrupted), str(first), first.code]
    save_file(attempt(folder / "parts"), folder / f"parts-{me}.safetensors")

    failed = attempt(folder / "failed", At(3, 1, unreadable))
    report["failed"] = [isinstance(failed, Elsewhere), str(failed), failed.code]

    made = []
    images = MemorySource({str(i): torch.zeros(1, 2, 2) for i in range(5)})

    def draw(i):
        made.append(i)
        return torch.randn(1, 2, 2, generator=make_generator("cpu", 7, i))

    store = make_draws(folder / "draws.zarr", images, draw)
    report["made"] = made
    report["draws"] = [store.read(i).tolist() for i in range(5)]

    for name in ("run", "imaging"):
        report[name] = command_line("train", folder / f"{name}.yaml", "--out", folder / name, "--device", "cpu")
        dist.init_process_group("gloo", init_method=f"file://{folder}/after-{name}", rank=me, world_size=2)

    from unveil.runs import run as run_module  # one file that the second process alone cannot read

    if me == 1:
        run_module.open_source = lambda config: unreadable()
    report["unreadable"] = command_line("train", folder / "run.yaml", "--out", folder / "other", "--device", "cpu")
    report["alone"] = command_line("evaluate", folder / "run")
    (folder / f"report-{me}.json").write_text(json.dumps(report))

    killed = attempt(folder / "killed", At(5, 1, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    report["killed"] = [str(killed), killed.code]
    (folder / f"report-{me}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    dist.init_process_group("gloo", init_method=f"file://{where}/meeting", rank=int(os.environ["RANK"]), world_size=2)
    run(where)
