"""One step of training and what surrounds it: schedule, average, clipping, randomness, memory, failures."""

import gc
import json
import math
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from small import losses, noisy
from unveil.config import TrainingConfig
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, UNet
from unveil.losses import Loss, Stein, Weighted
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training import (
    Interrupted,
    MetricsLog,
    averaged,
    latest_checkpoint,
    learning_rate,
    ranks,
    read_metrics,
    train,
)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Preconditioned(UNet(1, (8, 8)))


def noise_batches(generator):
    return noisy(torch.rand(4, 1, 8, 8, generator=generator))


def settings(**values):
    return TrainingConfig(**{"steps": 12, "warmup": 2, "checkpoint_every": 4, "learning_rate": 1e-2, **values})


def run(folder, config=None, f=None, loss=None, batches=noise_batches, **options):
    return train(
        f or network(),
        loss or Weighted(Stein()),
        batches,
        config or settings(),
        folder,
        device="cpu",
        **options,
    )


class Broken(Loss):
    """mean f^2, until at the call `at` its value (or only its gradient) is NaN."""

    def __init__(self, at, gradient_only=False):
        self.calls, self.at, self.gradient_only = 0, at, gradient_only

    def __call__(self, f, m, generator):
        self.calls += 1
        value = m.mean_square(f(m))
        if self.calls == self.at:
            value = value + (0 * value).sqrt() if self.gradient_only else value * math.nan
        return value


def test_learning_rate_schedule():
    config = TrainingConfig(steps=100, warmup=10, learning_rate=0.5)
    for step, expected in [
        (0, 0.05),
        (4, 0.25 * 0.96**0.5),
        (9, 0.5 * 0.91**0.5),
        (51, 0.5 * 0.7),
        (99, 0.05),
    ]:
        assert learning_rate(step, config) == pytest.approx(expected)
    assert learning_rate(0, config.model_copy(update={"warmup": 0})) == 0.5
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert min(rates) > 0


@pytest.mark.parametrize("warmup", [0, 4])
def test_the_schedule_is_what_the_optimizer_uses(warmup, tmp_path):
    """Adam's first step moves a weight by the rate itself, whatever its gradient."""
    config, f, moved = settings(steps=4, warmup=warmup, clip=1e6), network(), []
    start = f.backbone.head.bias.detach().clone()
    run(tmp_path, config, f, progress=lambda *now: moved.append((f.backbone.head.bias - start).abs().item()))
    assert moved[0] == pytest.approx(learning_rate(0, config), rel=1e-3)


def test_average_is_the_recursion():
    model = nn.Linear(3, 2)
    ema = averaged(model, 0.4)
    by_hand = None
    for n in range(8):
        with torch.no_grad():
            model.weight.normal_(generator=make_generator("cpu", n))
        ema.update_parameters(model)
        d = min(0.4, (1 + n) / (10 + n))
        by_hand = model.weight.clone() if n == 0 else by_hand + (1 - d) * (model.weight - by_hand)
        torch.testing.assert_close(ema.module.weight, by_hand)
    assert min(0.4, 2 / 11) != min(0.4, 8 / 17), "both branches of the decay were visited"


def test_average_of_a_run_is_the_recursion_and_is_in_the_checkpoint(tmp_path):
    seen = []
    f = network()

    def keep(done, total, metrics):
        seen.append({name: value.clone() for name, value in f.state_dict().items()})

    trained = run(tmp_path, settings(steps=6, ema=0.3), f, progress=keep)
    mean = seen[0]
    for n, weights in enumerate(seen[1:], 1):
        d = min(0.3, (1 + n) / (10 + n))
        mean = {name: mean[name] + (1 - d) * (value - mean[name]) for name, value in weights.items()}
    saved = load_file(latest_checkpoint(tmp_path / "checkpoints") / "ema.safetensors")
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, mean[name])
        assert torch.equal(saved[f"module.{name}"], value)
    assert saved["n_averaged"] == 6
    assert not trained.training


def test_clipping_bounds_the_gradient_and_the_log_has_the_norm_before(tmp_path):
    """After one step Adam's first moment is 0.1 of the gradient it was given."""
    norms = {}
    for clip in (1e-3, 1e6):
        run(tmp_path / str(clip), settings(steps=1, warmup=0, clip=clip))
        moments = load_file(latest_checkpoint(tmp_path / str(clip) / "checkpoints") / "optimizer.safetensors")
        first = [value for name, value in moments.items() if name.endswith("exp_avg")]
        norms[clip] = 10 * torch.stack([m.norm() for m in first]).norm().item()
    logged = [read_metrics(tmp_path / str(clip))[0]["gradient_norm"] for clip in norms]
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1e6] == pytest.approx(logged[1], rel=1e-4)
    assert logged[0] == pytest.approx(logged[1], rel=1e-6)
    assert logged[0] > 1e-2


def test_batches_differ_between_steps_and_their_generators_are_keyed_by_seed_step_and_rank(tmp_path):
    def seeds(folder, seed):
        seen = []

        def batches(generator):
            seen.append(generator.initial_seed())
            return noise_batches(generator)

        run(folder, settings(steps=5), batches=batches, seed=seed)
        return seen

    ours = seeds(tmp_path / "a", 3)
    assert ours == [make_generator("cpu", 3, step, 0).initial_seed() for step in range(5)]
    others = seeds(tmp_path / "b", 4)
    ranks = [make_generator("cpu", 3, step, rank).initial_seed() for step in range(5) for rank in (0, 1)]
    assert len({*ours, *others}) == 10
    assert len(set(ranks)) == 10
    assert losses(tmp_path / "a") != losses(tmp_path / "b")


def test_the_loss_draws_from_another_generator_than_the_batch(tmp_path):
    drawn = {}

    class Spy(Broken):
        def __call__(self, f, m, generator):
            drawn.setdefault("loss", []).append(generator.initial_seed())
            return super().__call__(f, m, generator)

    def batches(generator):
        drawn.setdefault("batch", []).append(generator.initial_seed())
        return noise_batches(generator)

    run(tmp_path, settings(steps=3), loss=Spy(at=0), batches=batches)
    assert len({*drawn["loss"], *drawn["batch"]}) == 6


def test_nothing_depends_on_global_randomness_nor_touches_it(tmp_path):
    results = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            results.append(run(tmp_path / str(seed), settings(steps=4)).state_dict())
            assert torch.equal(torch.get_rng_state(), before)
    assert losses(tmp_path / "1") == losses(tmp_path / "2")
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_memory_does_not_grow_with_the_steps(tmp_path):
    counts = {}

    def count(done, total, metrics):
        if done in (5, 15):
            gc.collect()
            counts[done] = sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())

    run(tmp_path, settings(steps=15, checkpoint_every=3), progress=count)
    assert counts[15] <= counts[5]


def test_log_is_one_line_a_step_and_tensorboard_has_it_too(tmp_path):
    run(
        tmp_path,
        settings(validate_every=5),
        validation=lambda f: {"error": 0.25 if not f.training else math.nan},
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(set(line) >= {"loss", "gradient_norm", "learning_rate"} for line in lines)
    assert [line["step"] for line in lines if "error" in line] == [5, 10, 12]
    assert {line["error"] for line in lines if "error" in line} == {0.25}, "validated in evaluation mode"
    assert [line["learning_rate"] for line in lines] == [learning_rate(t, settings()) for t in range(12)]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, pytest.approx(e.value)) for e in board.Scalars("loss")] == [
        (line["step"], line["loss"]) for line in lines
    ]


def test_a_cut_off_last_line_of_the_log_is_dropped(tmp_path):
    run(tmp_path, settings(steps=3))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]
    assert read_metrics(tmp_path / "none") == []


BAD_LINES = [b"", b"[1]", b'{"loss": 1.0}', b'{"step": "2"}', b'{"step": 2, "loss": [1]}', b'{"step": 2, "x": \xff}',
             b'{"step": ' + b"9" * 9999 + b"}", b"[" * 99_999, b'{"step": 2, "lo']  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_damaged_line_of_the_log_is_named_and_nothing_is_rewritten(line, tmp_path):
    run(tmp_path, settings(steps=4))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    before = path.read_bytes()
    with pytest.raises(UnveilError, match=r"metrics\.jsonl: line 2 is damaged") as caught:
        run(tmp_path, settings(steps=4))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    path.rename(tmp_path / "moved")
    run(tmp_path, settings(steps=4))


def test_the_log_is_never_cut_in_place(tmp_path):
    """Whoever reads the file while a run resumes, or keeps a hard link to it, has the whole of it."""
    run(tmp_path, settings(steps=6))
    path, kept = tmp_path / "metrics.jsonl", tmp_path / "kept"
    before = path.read_text()
    os.link(path, kept)
    with MetricsLog(tmp_path, 4) as log:
        assert len(read_metrics(tmp_path)) == 4
        log.write(5, {"loss": 0.5})
    assert kept.read_text() == before
    assert len(read_metrics(tmp_path)) == 5


@pytest.mark.parametrize(("gradient_only", "name"), [(False, "loss is nan"), (True, "gradient's norm is nan")])
def test_non_finite_steps_stop_and_leave_the_last_checkpoint_intact(gradient_only, name, tmp_path):
    """checkpoint_every=1: the step that went wrong must not be saved."""
    config, handler = settings(steps=6, checkpoint_every=1), signal.getsignal(signal.SIGINT)
    with pytest.raises(UnveilError, match=rf"{name} at step 4.*learning_rate") as caught:
        run(tmp_path, config, loss=Broken(4, gradient_only))
    assert "\n" not in str(caught.value)
    newest = latest_checkpoint(tmp_path / "checkpoints")
    assert newest.name == "step-00000003"
    assert all(x.isfinite().all() for x in load_file(newest / "model.safetensors").values())
    assert signal.getsignal(signal.SIGINT) is handler
    run(tmp_path, config, loss=Broken(0))
    run(tmp_path / "whole", config, loss=Broken(0))
    assert losses(tmp_path) == losses(tmp_path / "whole")


def test_a_file_that_cannot_be_read_any_more_loses_no_step(tmp_path):
    def cut(generator):
        if generator.initial_seed() == make_generator("cpu", 0, 3, 0).initial_seed():
            raise UnveilError("m1.tif cannot be read")
        return noise_batches(generator)

    with pytest.raises(UnveilError, match=r"^m1\.tif cannot be read; step 3 of 12 is saved$"):
        run(tmp_path, batches=cut)
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000003"
    with pytest.raises(UnveilError, match="step 3 of 12 is saved"):
        run(tmp_path, batches=cut)
    with pytest.raises(UnveilError, match=r"^m1\.tif cannot be read$"):
        run(tmp_path / "first", batches=lambda generator: cut(make_generator("cpu", 0, 3, 0)))
    run(tmp_path)
    run(tmp_path / "whole")
    assert losses(tmp_path) == losses(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_the_step_and_says_which_it_was(number, tmp_path):
    def once(done, total, metrics):
        if done == 2:
            signal.raise_signal(number)
            signal.raise_signal(signal.SIGINT if number != signal.SIGINT else signal.SIGTERM)  # launchers send both
            signal.raise_signal(number if number != signal.SIGINT else signal.SIGTERM)  # and pass on what came already

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(Interrupted, match="stopped at step 2 of 12, saved") as caught:
        run(tmp_path, progress=once)
    assert caught.value.signum == number
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000002"
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_a_signal_while_processes_agree_is_not_lost(tmp_path, monkeypatch):
    """It came after the others had been told of none: it counts in the next step."""
    asked, calls = ranks.highest, []

    def highest(value):
        calls.append(value)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return asked(value)

    monkeypatch.setattr(ranks, "highest", highest)
    with pytest.raises(Interrupted, match="stopped at step 3 of 12, saved") as caught:
        run(tmp_path)
    assert calls == [0, 0, signal.SIGTERM]
    assert caught.value.signum == signal.SIGTERM
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000003"


def test_signals_that_are_ignored_stay_ignored(tmp_path):
    """As nohup starts a program; Ctrl-C is heard."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run(tmp_path, settings(steps=2), progress=lambda *now: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_ctrl_c_handler_is_restored_and_a_second_one_stops_at_once(tmp_path):
    def twice(done, total, metrics):
        if done == 2:
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):  # two signals before Python looks are one
                if signal.getsignal(signal.SIGINT) is handler:
                    break
                time.sleep(0.001)
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path, progress=twice)
    assert not isinstance(caught.value, Interrupted)
    assert latest_checkpoint(tmp_path / "checkpoints") is None
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_during_the_last_step_finishes(tmp_path):
    def at_the_end(done, total, metrics):
        if done == total:
            signal.raise_signal(signal.SIGINT)

    assert not run(tmp_path, settings(steps=3), progress=at_the_end).training


def test_precisions_one_after_another_in_a_process(tmp_path):
    """A notebook trains in one precision, then in another."""
    exact = losses_of(tmp_path / "no", "no")
    half = losses_of(tmp_path / "bf16", "bf16")
    assert exact != half
    assert half == pytest.approx(exact, rel=0.2)
    assert losses_of(tmp_path / "again", "no") == exact


def test_precision_that_the_machine_lacks(tmp_path, monkeypatch):
    def refuse(**options):
        raise ValueError("bf16 mixed precision requires another machine")

    monkeypatch.setattr("unveil.training.loop.Accelerator", refuse)
    with pytest.raises(UnveilError, match=r"training\.precision = bf16 cannot be used here \(.*set it to no") as caught:
        losses_of(tmp_path, "bf16")
    assert "\n" not in str(caught.value)


def losses_of(folder, precision):
    run(folder, settings(steps=3, precision=precision), loss=Broken(0))
    return losses(folder)


def test_loss_decreases_on_real_images(tmp_path):
    """The default recipe on a noisy photograph, judged by its loss and by the clean one it never saw."""
    from skimage.data import camera

    from unveil.config import LossConfig
    from unveil.data import MemorySource
    from unveil.dataset import Dataset
    from unveil.training import make_loss
    from unveil.training.batches import make_batches

    x = torch.from_numpy(camera()[::2, ::2] / 255.0).float()[None]
    y = x + 0.1 * torch.randn(x.shape, generator=make_generator("cpu", 0))
    data = Dataset(MemorySource({"camera": y}), Identity(), Gaussian(0.1))

    f = run(
        tmp_path,
        settings(steps=150, warmup=10, learning_rate=5e-3, checkpoint_every=1000, ema=0.97),
        loss=make_loss(LossConfig()),
        batches=make_batches(data, 8, 32, (1, 2), augment=False),
    )
    values = torch.tensor(losses(tmp_path))
    first, last = values[:30], values[-30:]
    error = (first.var() / 30 + last.var() / 30).sqrt()
    assert last.mean() < first.mean() - 4 * error
    with torch.no_grad():
        trained, untrained = ((g(data[0])[0] - x).square().mean().item() for g in (f, network()))
    assert trained < 0.5 * untrained
    assert trained < 0.4 * 0.1**2
