"""Draws within a training: a queue that forgets, draws of its time, and a training that resumes to the bit."""

import os
import signal

import pytest
import torch

from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.estimators import knows_camera
from unveil.instruments.inpainting.operator import Inpainting
from unveil.losses import Looks, Loss
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.training import build_estimator, learn
from unveil.training import looks as looking
from unveil.training.interrupt import Interrupted
from unveil.training.looks import EVERY, LearningFromDraws, Queue

SIDE, STEPS = 16, 16
OPERATOR = Inpainting((1, SIDE, SIDE), torch.rand(1, 1, SIDE, SIDE, generator=make_generator("cpu", 0)) < 0.6)


def data():
    x = torch.rand(8, 1, SIDE, SIDE, generator=make_generator("cpu", 1))
    return Dataset(MemorySource({str(i): y for i, y in enumerate(OPERATOR.A(x))}), OPERATOR, Gaussian(0.1))


def train(folder, stop=None, loss=None, estimator=None):
    values = {
        "data": {"path": "y"},
        "estimator": {"widths": [4, 4], "prior": "white", **(estimator or {})},
        "loss": {"camera": 1.0, "scales": [1], **(loss or {})},
        "training": {"steps": STEPS, "batch": 4, "checkpoint_every": 5, "warmup": 2},
    }
    config = parse_config(values, "test")

    def progress(done, total, metrics):
        if done == stop:
            os.kill(os.getpid(), signal.SIGINT)

    f = build_estimator(config, 1, OPERATOR)
    return learn(f, data(), data().subset(range(2)), config, folder, device="cpu", stages=lambda title: progress)


@pytest.mark.parametrize("stop", [3, 7, 13], ids=["before draws", "draws by A", "draws by a camera"])
def test_a_training_that_is_resumed_ends_as_one_that_was_not(stop, tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", stop)
    again = train(tmp_path / "parts")
    assert knows_camera(whole) is whole
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_queue_keeps_the_newest():
    queue, generator = Queue((1, 1, 1), 4), make_generator("cpu", 0)
    for value in range(3):
        queue.push(torch.full((1, 1, 1, 1), float(value)))
    assert set(queue.take(100, generator).flatten().tolist()) == {0.0, 1.0, 2.0}
    queue.push(torch.tensor([3.0, 4.0, 5.0]).reshape(3, 1, 1, 1))
    assert set(queue.take(100, generator).flatten().tolist()) == {2.0, 3.0, 4.0, 5.0}
    assert [Queue.size(steps, 8) for steps in (2000, 100, 10)] == [256, 50, 8]


class Zero(Loss):
    def __call__(self, f, m, generator):
        return m.y.new_zeros(len(m))


def test_who_draws_and_when(monkeypatch):
    """Nothing at first, then by going on with A, then with a camera; by the averaged network, every fourth step."""
    calls = []

    def drawn(name):
        def draw(f, m, *rest, **options):
            calls.append((name, f, step))
            return torch.zeros(1, len(m), 1, SIDE, SIDE)

        return draw

    monkeypatch.setattr(looking, "posterior_samples", drawn("A"))
    monkeypatch.setattr(looking, "samples_by_camera", drawn("camera"))
    queue, steps = Queue((1, SIDE, SIDE), 8), 40
    teacher = torch.nn.Identity()
    queue.follow(teacher)
    loss = LearningFromDraws(Zero(), Looks(0.25, 0.05), queue, 0.5, steps)
    m = data().batch(torch.arange(4))
    f = lambda m: m.operator.image(m.y)  # noqa: E731
    values = []
    for step in range(steps):
        values.append(loss(f, m, make_generator("cpu", step)))
    assert [name for name, _, _ in calls] == ["A"] * sum(
        6 <= s < 20 and (s % EVERY == 0 or s == 6) for s in range(40)
    ) + ["camera"] * sum(s >= 20 and s % EVERY == 0 for s in range(40))
    assert all(f is teacher for _, f, _ in calls)
    assert all(float(v.abs().max()) == 0 for v in values[:6])  # of the draws, all 0, f is right but for noise: it is 0
    assert set(queue.state_dict()) == {"images", "drawn", "step"}


def test_draws_are_about_f_where_no_loss_teaches_levels_below(tmp_path, monkeypatch):
    calls = []

    def about(f, prior, m, generator):
        calls.append(prior)
        return torch.zeros(len(m), 1, SIDE, SIDE)

    for name in ("posterior_samples", "samples_by_camera"):
        monkeypatch.setattr(looking, name, lambda *a, **k: pytest.fail("nothing can go on"))
    monkeypatch.setattr(looking, "draws_about", about)
    taught = []
    monkeypatch.setattr(Looks, "__call__", lambda self, f, x, *rest: taught.append(self.blind) or x.new_zeros(len(x)))
    f = train(tmp_path, loss={"normalized": 0.0}, estimator={"prior": None})
    assert f.prior is not None
    assert len(calls) == sum(s >= 0.15 * STEPS and (s % EVERY == 0 or s == 3) for s in range(STEPS))
    assert set(taught) == {0.0}, "f(y) itself is left to the measurements"
    assert all(torch.equal(prior.spectrum, f.prior.spectrum) for prior in calls)


def test_coarser_measurements_are_learned_from_alone(monkeypatch):
    monkeypatch.setattr(looking, "posterior_samples", lambda *a, **k: pytest.fail("drawn of another shape"))
    queue = Queue((1, SIDE, SIDE), 8)
    loss = LearningFromDraws(Zero(), Looks(0.25, 0.05), queue, 0.5, 10)
    queue.step += 5
    small = Inpainting((1, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool))
    m = Measurement(torch.rand(4, 1, 8, 8), small, Gaussian(0.1))
    assert float(loss(lambda m: m.operator.image(m.y), m, make_generator("cpu", 0)).abs().max()) == 0


@pytest.mark.parametrize("steps", [10, 40], ids=["draws by a camera", "draws by A"])
def test_draws_of_images_that_cannot_be_negative(steps, monkeypatch):
    drawn = torch.randn(1, 4, 1, SIDE, SIDE, generator=make_generator("cpu", 5))
    for name in ("posterior_samples", "samples_by_camera"):
        monkeypatch.setattr(looking, name, lambda f, m, *rest, **options: drawn)
    m = data().batch(torch.arange(4))
    for nonnegative in (False, True):
        queue = Queue((1, SIDE, SIDE), 4)
        queue.follow(torch.nn.Identity())
        queue.step += 8
        loss = LearningFromDraws(Zero(), Looks(0.25, 0.05), queue, 0.5, steps, nonnegative)
        loss(lambda m: m.operator.image(m.y), m, make_generator("cpu", 0))
        torch.testing.assert_close(queue.images, drawn[0].clamp(min=0) if nonnegative else drawn[0])
