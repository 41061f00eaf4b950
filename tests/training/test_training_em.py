"""Rounds of expectation maximisation: draws have the laws of closed forms, and a run with rounds ends and resumes as
one without."""

import math
import signal
import sys

import pytest
import torch

import masked
from small import configure, measure, same
from unveil.config import EMConfig
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity
from unveil.random import make_generator, normal
from unveil.runs import create_run, train_run
from unveil.training import Interrupted, draw_training_set, exposures_of_rounds, learn
from unveil.training.em import chosen

LEARN = sys.modules[learn.__module__]
V, SIGMA, MEAN = 0.2**2, 0.1, 0.5


class White(torch.nn.Module):
    """E[x | y] of pixels N(1/2, v), of which those are measured that are."""

    def __init__(self, v=V):
        super().__init__()
        self.v = v

    def forward(self, m):
        weight = (self.v / (self.v + m.level**2)).reshape(-1, 1, 1, 1)
        return MEAN + weight * m.operator.A_adjoint(m.y - m.operator.A(torch.full_like(m.y, MEAN)))


def images(count=4, side=96):
    like = torch.zeros(1, side, side)
    y = {str(i): MEAN + (V + SIGMA**2) ** 0.5 * normal(like, make_generator("cpu", i)) for i in range(count)}
    return Dataset(MemorySource(y), Identity(), Gaussian(SIGMA))


def values(store):
    return torch.stack([store.read(i) for i in range(len(store))])


# --- draws


@pytest.mark.parametrize("level", [0.0, 0.05])
@pytest.mark.parametrize("v", [V, 0.25 * V])
def test_draws_have_the_variance_of_one_em_step(tmp_path, level, v):
    """E step at the model v of data of variance V: y_t = m + b (y - m) + noise, the bridge of the exact posterior.

    Var[x] = p + g^2 (V + sigma^2),  g = v / (v + sigma^2), p = g sigma^2; V again if v = V, and between v and V if not.
    """
    t = (SIGMA / level) ** 2 if level else math.inf
    drawn = values(draw_training_set(White(v), images(), t, tmp_path / "d.zarr", steps=40, inflation=0.0, seed=3))
    g, b = v / (v + SIGMA**2), (level / SIGMA) ** 2
    slope = g + b * (1 - g)  # of E[y_t | y] in y
    variance = (1 - b) ** 2 * g * SIGMA**2 + level**2 * (1 - b) + slope**2 * (V + SIGMA**2)
    error = variance * (2 / drawn.numel()) ** 0.5
    assert abs(float(drawn.var()) - variance) < 4 * error + 0.01 * variance  # 1%: the sampler at 40 steps
    if v == V:
        assert variance == pytest.approx(V + level**2)


def test_draws_of_counts_are_counts_of_a_longer_exposure(tmp_path):
    """Of a flat scene the posterior mean given any counts is the scene itself: at exposure t each pixel is gain / t
    Poisson(t u / gain)."""
    gain, u, t = 0.05, 0.4, 4.0

    class Scene(torch.nn.Module):
        def forward(self, m):
            return torch.full_like(m.y, u)

    noise = Poisson(gain)
    y = noise.sample(torch.full((2, 1, 96, 96), u), make_generator("cpu", 0))
    data = Dataset(MemorySource({str(i): y[i] for i in range(2)}), Identity(), noise)
    drawn = values(draw_training_set(Scene(), data, t, tmp_path / "d.zarr", steps=4, inflation=0.0, seed=3))
    photons = drawn * t / gain
    torch.testing.assert_close(photons, photons.round(), rtol=0, atol=1e-3)
    n, rate = photons.numel(), t * u / gain
    assert abs(float(photons.mean()) - rate) < 4 * math.sqrt(rate / n)
    assert abs(float(photons.var()) - rate) < 4 * rate * math.sqrt((2 + 1 / rate) / n)


def test_exposures_of_the_rounds():
    assert exposures_of_rounds(EMConfig(rounds=2, delta=1.0)) == [math.inf, math.inf]
    assert exposures_of_rounds(EMConfig(rounds=3, delta=0.4)) == pytest.approx([1 / 0.6**2, 1 / 0.2**2, math.inf])
    assert exposures_of_rounds(EMConfig(rounds=0)) == []


def test_only_so_many_images_are_drawn_and_they_are_spread_over_the_set(tmp_path):
    drawn = draw_training_set(
        White(), chosen(images(6, 8), 3), math.inf, tmp_path / "d", steps=1, inflation=0.0, seed=0
    )
    assert [drawn.name(i) for i in range(len(drawn))] == ["0", "2", "4"]


# --- what a round learns from


class Spy:
    """f(m) = A^T y, and what it was shown."""

    def __init__(self):
        self.seen = []

    def __call__(self, m):
        self.seen.append(m)
        return m.operator.A_adjoint(m.y)


@pytest.fixture
def given(monkeypatch):
    """(loss, batches) that each stage was trained with, by the name of its folder."""
    stages = {}

    def keep(f, objective, batches, training, folder, **options):
        stages[folder.name] = objective, batches
        return train(f, objective, batches, training, folder, **options)

    train = LEARN.train
    monkeypatch.setattr(LEARN, "train", keep)
    return stages


def rounds(data, **changes):
    em = {"rounds": 2, "delta": 0.5, "steps": 4, "images": 3, "draw_steps": 3, **changes}
    em = em if em["rounds"] else {}
    sections = {"loss": {"scales": [1, 2]}, "sampling": {"inflation": 0.0}, "noise": {"sigma": SIGMA}}
    return configure(data, em=em, **sections)


def test_the_last_round_learns_half_from_draws_below_the_noise_and_half_from_measurements(tmp_path, given):
    run = create_run(tmp_path / "run", rounds(measure(tmp_path / "data", side=40), rounds=1, delta=1.0, images=2))
    train_run(run, device="cpu")
    loss, batches = given["round-1"]
    measured, drawn = [], []
    for t in range(40):
        batch, spy = batches(make_generator("cpu", t)), Spy()
        assert len(batch.m) == len(batch.x) == run.config.training.batch // 2
        assert torch.equal(batch.m.noise.level(batch.m.y, batch.m.operator.mean), torch.full((2,), SIGMA)), "no scales"
        value = loss(spy, batch, make_generator("cpu", t, 1))
        assert value.shape == (4,)
        simulated = spy.seen[0]
        torch.testing.assert_close(value[2:], ((simulated.y - batch.x) ** 2).mean((1, 2, 3)) / simulated.level**2)
        drawn.append(simulated.level / SIGMA)
        measured.append(torch.cat([m.level for m in spy.seen[1:]]) / SIGMA)
    ratios = torch.cat(drawn)
    assert 0.08 - 1e-5 < ratios.min() < 0.2
    assert 2 < ratios.max() < 3 + 1e-5
    width = math.log(3 / 0.08)
    assert abs(float(ratios.log().mean()) - math.log(0.08) - width / 2) < 4 * width / math.sqrt(12 * len(ratios))
    # of the measurements, the normalized share alone may be below the level that was measured
    ratios = torch.cat(measured)
    assert ratios.min() >= 0.1
    assert ratios.max() > 1


def test_a_round_at_a_longer_exposure_reaches_the_same_highest_level(tmp_path, given):
    run = create_run(tmp_path / "run", rounds(measure(tmp_path / "data", side=40)))
    train_run(run, device="cpu")
    for stage, base in (("run", SIGMA), ("round-1", SIGMA / 2)):
        loss, batches = given[stage]
        levels, at = [], []
        for t in range(30):
            m, spy = batches(make_generator("cpu", t)), Spy()
            loss(spy, m, make_generator("cpu", t, 1))
            at.append(m.level)
            levels.append(torch.cat([m.level for m in spy.seen]))
        (
            torch.testing.assert_close(torch.cat(at).unique(), torch.tensor([base / 2, base])),
            "and learns from both scales",
        )
        assert 0.8 * 3 * SIGMA < torch.cat(levels).max() < 3 * SIGMA + 1e-5


def test_rounds_of_incomplete_measurements_are_refused(tmp_path):
    masked.write(tmp_path / "data", count=8)
    config = masked.configure(tmp_path / "data", em={"rounds": 1})
    with pytest.raises(UnveilError, match="and inpainting leaves something out"):
        create_run(tmp_path / "run", config)


# --- the run


def interrupted_everywhere(run):
    """The estimator of a run that is interrupted at the first and second event of each stage, and how often it was."""
    seen, stops = set(), 0

    def stages(name):
        def progress(done, total, metrics):
            if (name, done) not in seen and done <= 2:
                seen.add((name, done))
                signal.raise_signal(signal.SIGINT)

        return progress

    while True:
        try:
            return train_run(run, device="cpu", stages=stages), {name for name, _ in seen}
        except Interrupted:
            stops += 1
            assert stops < 40, "it never ends"


STAGES = {"training", "round-1, drawing", "round-1", "round-2, drawing", "round-2"}


def test_a_run_interrupted_at_every_stage_ends_as_an_uninterrupted_one(tmp_path):
    config = rounds(measure(tmp_path / "data", side=40))
    whole = train_run(create_run(tmp_path / "whole", config), device="cpu")
    parts, stages = interrupted_everywhere(create_run(tmp_path / "parts", config))
    assert stages >= STAGES
    assert same(parts, whole)


def test_a_round_changes_the_estimator_and_gives_finite_weights(tmp_path):
    data = measure(tmp_path / "data", side=40)
    without = train_run(create_run(tmp_path / "a", rounds(data, rounds=0)), device="cpu")
    with_em = train_run(create_run(tmp_path / "b", rounds(data, rounds=1, delta=1.0)), device="cpu")
    assert not same(without, with_em)
    assert all(p.isfinite().all() for p in with_em.parameters())
