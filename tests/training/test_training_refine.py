"""The iterated recipe against closed forms, and its resumption."""

import signal

import pytest
import torch
from test_training_run import configure, measure, same

from unveil.config import RefineConfig
from unveil.data import MemorySource
from unveil.random import make_generator, normal
from unveil.training import Interrupted, create_run, draw_training_set, make_risk, round_levels, train_run
from unveil.training.learn import em_batches, em_risk

V, SIGMA = 0.2**2, 0.1


class Shrinkage(torch.nn.Module):
    """E[x | y] of pixels N(1/2, v)."""

    def __init__(self, v):
        super().__init__()
        self.v = v

    def forward(self, y, sigma):
        return 0.5 + (self.v / (self.v + sigma**2)).reshape(-1, 1, 1, 1) * (y - 0.5)


def source(count=4, side=96):
    like = torch.zeros(1, side, side)
    return MemorySource(
        {str(i): 0.5 + (V + SIGMA**2) ** 0.5 * normal(like, make_generator("cpu", i)) for i in range(count)}
    )


@pytest.mark.parametrize("level", [0.0, 0.05])
@pytest.mark.parametrize("v", [V, 0.25 * V])
def test_draws_have_the_variance_of_one_em_step(tmp_path, level, v):
    """E step at the model v of data of variance V: x_s = m + b (y - m) + noise, the bridge of the exact posterior.

    Var[x] = p + g^2 (V + sigma^2),  g = v / (v + sigma^2), p = g sigma^2; V again if v = V, and between v and V if not.
    """
    settings = RefineConfig(rounds=1, draw_steps=40)
    drawn = draw_training_set(
        Shrinkage(v), source(), SIGMA, level, tmp_path / "d.zarr", config=settings, gain=0.0, seed=3
    )
    values = torch.stack([drawn.read(i) for i in range(len(drawn))])
    g, b = v / (v + SIGMA**2), (level / SIGMA) ** 2
    slope = g + b * (1 - g)  # of E[x_s | y] in y
    variance = (1 - b) ** 2 * g * SIGMA**2 + level**2 * (1 - b) + slope**2 * (V + SIGMA**2)
    error = variance * (2 / values.numel()) ** 0.5
    assert abs(float(values.var()) - variance) < 4 * error + 0.01 * variance  # 1%: the solver at 40 steps
    if v == V:
        assert variance == pytest.approx(V + level**2)


def test_levels_of_the_rounds():
    assert round_levels(0.1, RefineConfig(rounds=2, delta=1.0)) == [0, 0]
    assert round_levels(0.1, RefineConfig(rounds=3, delta=0.4)) == pytest.approx([0.06, 0.02, 0.0])
    assert round_levels(0.1, RefineConfig(rounds=0)) == []


def test_only_so_many_images_are_drawn_and_they_are_spread_over_the_set(tmp_path):
    drawn = draw_training_set(
        Shrinkage(V),
        source(6, 8),
        SIGMA,
        0.0,
        tmp_path / "d",
        config=RefineConfig(images=3, draw_steps=1),
        gain=0.0,
        seed=0,
    )
    assert [drawn.name(i) for i in range(len(drawn))] == ["0", "2", "4"]


def rounds(data, **changes):
    refine = {"rounds": 2, "delta": 0.5, "steps": 4, "images": 3, "draw_steps": 3, **changes}
    return configure(data, refine=refine, risk={"dilation": [1, 2]}, sampling={"gain": 0.0})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(its data, the estimator that it returned)."""
    data = measure(tmp_path_factory.mktemp("refine") / "data", side=40)
    return data, train_run(create_run(data.parent / "whole", rounds(data)), device="cpu")


@pytest.mark.parametrize("stage", ["training", "round-1, drawing", "round-1", "round-2, drawing", "round-2"])
def test_a_run_interrupted_at_any_stage_ends_as_an_uninterrupted_one(tmp_path, stage, uninterrupted):
    data, expected = uninterrupted
    seen = []

    def interrupt(name):
        seen.append(name)

        def progress(done, total, metrics):
            if name == stage and done == 2:
                signal.raise_signal(signal.SIGINT)

        return progress

    parts = create_run(tmp_path / "parts", rounds(data))
    with pytest.raises(Interrupted):
        train_run(parts, device="cpu", stages=interrupt)
    assert seen[-1] == stage
    assert same(train_run(parts, device="cpu"), expected)


def test_a_round_changes_the_estimator_and_gives_finite_weights(tmp_path):
    data = measure(tmp_path / "data", side=40)
    without = train_run(create_run(tmp_path / "a", rounds(data, rounds=0)), device="cpu")
    with_em = train_run(create_run(tmp_path / "b", rounds(data, rounds=1, delta=1.0)), device="cpu")
    assert not same(without, with_em)
    assert all(p.isfinite().all() for p in with_em.parameters())


def test_em_learns_from_draws_below_the_noise_and_from_measurements_above(tmp_path):
    config = configure(tmp_path, training={"batch": 8})
    draws, measured = MemorySource({"x": torch.zeros(1, 16, 16)}), MemorySource({"y": torch.ones(1, 16, 16)})
    y, sigma = em_batches(draws, measured, SIGMA, config)(make_generator("cpu", 0))
    assert torch.equal(sigma, torch.tensor([0.0] * 4 + [SIGMA] * 4))
    assert torch.equal(y.mean((1, 2, 3)), torch.tensor([0.0] * 4 + [1.0] * 4))
    seen = []

    def f(y, s):
        seen.append((s, y.mean((1, 2, 3)).round()))
        return y

    em_risk(make_risk, config, SIGMA)(f, y, sigma, make_generator("cpu", 1))
    levels, kinds = (torch.cat(parts) for parts in zip(*seen))
    assert float(levels[kinds == 0].max()) <= 1.2 * SIGMA + 1e-6
    # of the measurements, the renormalized fifth alone may be below the level that was measured
    assert (levels[kinds == 1] >= 0.2 * SIGMA).all()
    assert float(levels[kinds == 1].max()) > SIGMA
