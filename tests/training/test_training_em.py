"""Rounds of expectation maximisation: draws have the laws of closed forms, and a run with rounds ends and resumes as
one without."""

import math
import signal
import sys

import pytest
import torch
from safetensors.torch import load_file

import masked
from small import configure, measure, same
from unveil.config import EMConfig
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.evaluation import draw_samples
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator, normal
from unveil.runs import create_run, train_run
from unveil.training import Interrupted, draw_training_set, exposures_of_rounds, learn, read_inflation
from unveil.training.em import chosen, draw_images_of

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


@pytest.mark.parametrize("under_prior", [True, False])
def test_draws_have_the_law_of_the_posterior(under_prior, tmp_path):
    """Where pixels are missing they vary as the prior does; draws by f alone do not vary there, as documented."""
    count, mask = 60, torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    operator = inpainting(mask)
    y = operator.project(torch.tensor([[0.7, 0.0], [0.1, 0.4]])[None, None])[0]
    data = Dataset(MemorySource({f"{i:03d}": y for i in range(count)}), operator, Gaussian(SIGMA))
    if under_prior:
        store = draw_images_of(White(), White(), data, tmp_path / "draws.zarr", highest=2.0, steps=12, seed=3)
    else:
        store = draw_training_set(White(), data, math.inf, tmp_path / "draws.zarr", steps=12, inflation=0.0, seed=3)
    x = values(store)[:, 0]
    shrunk = V / (V + SIGMA**2)
    mean = torch.where(mask > 0, MEAN + shrunk * (y[0] - MEAN), MEAN)
    variance = torch.where(mask > 0, shrunk * SIGMA**2, V if under_prior else 0.0)
    error = (variance / count).sqrt() + 1e-4
    # 4 standard errors, and what few steps and the last level leave
    assert ((x.mean(0) - mean).abs() < 4 * error + 0.01).all()
    assert ((x.var(0) - variance).abs() <= 4 * variance * math.sqrt(2 / count) + 1e-9).all()


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


def masked_rounds(folder, **changes):
    em = {"rounds": 1, "steps": 2, "images": 3, "draw_steps": 2, **changes}
    em = em if em["rounds"] else {}
    training = {"steps": 2, "batch": 2, "warmup": 0, "checkpoint_every": 1}
    return masked.configure(folder, em=em, training=training, sampling={"inflation": "fit"})


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


def test_draws_of_incomplete_measurements_are_turned_and_measured_by_their_operators(tmp_path, given):
    masked.write(tmp_path / "data", count=8)
    run = create_run(tmp_path / "run", masked_rounds(tmp_path / "data"))
    train_run(run, device="cpu")
    loss, batches = given["last"]
    masks = {tuple((m.y != 0).flatten().tolist()) for m in (run.measurements()[0][i] for i in range(6))}
    apart, moved = [], set()
    for t in range(10):
        batch, spy = batches(make_generator("cpu", t)), Spy()
        assert (len(batch.m), len(batch.x)) == (1, 1)
        loss(spy, batch, make_generator("cpu", t, 1))
        simulated = spy.seen[0]
        assert torch.equal(simulated.operator.measured, batch.m.operator.measured)
        assert tuple(simulated.operator.measured.flatten().tolist()) in masks
        shifts = torch.cartesian_prod(torch.arange(masked.SIDE), torch.arange(masked.SIDE)).tolist()
        x = torch.stack([batch.x[0].roll(shift, (1, 2)) for shift in shifts])
        residuals = simulated.operator.mean((simulated.y - simulated.operator.A(x)).square()).sqrt()
        apart.append(float(residuals.min() / simulated.level))
        moved.add(int(residuals.argmin()))
    # what is measured are the draw's values, in another place, and noise: in some 150 pixels, by the nearest of 256
    # shifts
    assert 0.5 < min(apart) < max(apart) < 1.2
    assert len(moved) > 5


def test_the_prior_learns_from_turned_draws(tmp_path, given):
    """By the symmetries but shifts, which a convolutional network knows, and amplitudes, which no draw has another
    of."""
    masked.write(tmp_path / "data", count=8)
    config = masked_rounds(tmp_path / "data")
    loss = config.loss.model_copy(update={"symmetry": ("shift", "flip", "amplitude"), "equivariance": 0.0})
    train_run(create_run(tmp_path / "run", config.model_copy(update={"loss": loss})), device="cpu")
    ramp = torch.arange(8.0).expand(400, 1, 8, 8)
    spy = Spy()
    value = given["prior"][0](spy, ramp, make_generator("cpu", 0))
    (m,) = spy.seen
    assert isinstance(m.operator, Identity)
    low, high = 0.04 * masked.SIGMA, 4 * config.estimator.std
    assert low - 1e-6 < m.level.min() < 2 * low
    assert high / 2 < m.level.max() < high + 1e-5
    rising = (m.y[..., 7] > m.y[..., 0]).float().mean(dim=(1, 2)) > 0.5
    assert abs(float(rising.float().mean()) - 0.5) < 4 * 0.5 / 400**0.5
    target = torch.where(rising[:, None, None, None], ramp, 7 - ramp)
    torch.testing.assert_close(value, ((m.y - target) ** 2).mean(dim=(1, 2, 3)) / m.level**2, rtol=1e-4, atol=0)


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


IMAGES = {"training", "round-1, drawing", "round-1", "round-2, drawing", "round-2"}
HOLES = {"spectrum", "training", "round-0, drawing", "round-1/prior", "round-1, drawing", "last"}


@pytest.mark.parametrize("kind", ["images", "holes"])
def test_a_run_interrupted_at_every_stage_ends_as_an_uninterrupted_one(tmp_path, kind):
    if kind == "images":
        config = rounds(measure(tmp_path / "data", side=40))
    else:
        masked.write(tmp_path / "data", count=8)
        config = masked_rounds(tmp_path / "data")
    whole = train_run(create_run(tmp_path / "whole", config), device="cpu")
    parts, stages = interrupted_everywhere(create_run(tmp_path / "parts", config))
    assert (IMAGES if kind == "images" else HOLES) <= stages
    assert same(parts, whole)


def test_a_round_changes_the_estimator_and_gives_finite_weights(tmp_path):
    data = measure(tmp_path / "data", side=40)
    without = train_run(create_run(tmp_path / "a", rounds(data, rounds=0)), device="cpu")
    with_em = train_run(create_run(tmp_path / "b", rounds(data, rounds=1, delta=1.0)), device="cpu")
    assert not same(without, with_em)
    assert all(p.isfinite().all() for p in with_em.parameters())


def test_a_run_with_a_round_keeps_the_prior_and_samples_under_it(tmp_path):
    masked.write(tmp_path / "data", count=8)
    run = create_run(tmp_path / "run", masked_rounds(tmp_path / "data"))
    train_run(run, device="cpu")
    data = run.measurements()[0]
    prior = run.prior(data.operator)
    trained = load_file(run.folder / "prior.safetensors")
    assert all(torch.equal(trained[name], value) for name, value in prior.state_dict().items())
    assert read_inflation(run.folder) == 0, "the inflation is that of measurement space"
    f, m = run.estimator(data.operator), data[5]
    sampling = run.config.sampling.model_copy(update={"samples": 16})

    def spread(prior):
        x = draw_samples(f, m, sampling, make_generator("cpu", 1), prior=prior)
        return float(x.std(0)[0][~m.operator.measured[0]].mean())

    assert spread(prior) > 0.05, "an untrained prior is a wide one"
    assert spread(None) < 0.05
    without = create_run(tmp_path / "without", masked_rounds(tmp_path / "data", rounds=0))
    train_run(without, device="cpu")
    assert without.prior(data.operator) is None
