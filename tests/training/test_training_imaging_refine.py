"""EM for incomplete measurements: the draws have the posterior's law, and a run with rounds ends and resumes."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.evaluation import draw_samples
from unveil.operators import inpainting
from unveil.random import make_generator
from unveil.training import Interrupted, create_run, imaging, read_gain, train_run
from unveil.training.imaging_refine import draw_images
from unveil.training.setup import open_problem, open_source

MEAN, VARIANCE, SIGMA = 0.4, 0.04, 0.1
SHRUNK = VARIANCE / (VARIANCE + SIGMA**2)


class WhitePrior(nn.Module):
    """E[x | x_s] of x ~ N(MEAN, VARIANCE I)."""

    def forward(self, x, s):
        return MEAN + VARIANCE / (VARIANCE + s.reshape(-1, 1, 1, 1) ** 2) * (x - MEAN)


class WhiteEstimate(nn.Module):
    """E[x | y] of the same x, of which some pixels are measured."""

    def forward(self, y, sigma, problem):
        weight = VARIANCE / (VARIANCE + sigma.reshape(-1, 1, 1, 1) ** 2)
        return MEAN + weight * (problem.measured.to(y) * (y - MEAN))


@pytest.mark.parametrize("prior", [WhitePrior(), None])
def test_draws_have_the_law_of_the_posterior(prior, tmp_path):
    """Where pixels are missing they vary as the prior does; draws by f alone do not vary there, as documented."""
    count, mask = 60, torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    problem = inpainting(mask)
    y = problem.project(torch.tensor([[0.7, 0.0], [0.1, 0.4]])[None, None])[0]
    measurements = MemorySource({f"{i:03d}": y for i in range(count)})
    store = draw_images(
        WhiteEstimate(), prior, measurements, problem, SIGMA, tmp_path / "draws.zarr", highest=2.0, steps=12, seed=3
    )
    x = torch.stack([store.read(i)[0] for i in range(count)])
    mean = torch.where(mask > 0, MEAN + SHRUNK * (y[0] - MEAN), MEAN)
    unseen = VARIANCE if prior is not None else 0.0
    variance = torch.where(mask > 0, SHRUNK * SIGMA**2, unseen)
    error = (variance / count).sqrt() + 1e-4
    # 4 standard errors, and what few steps and the last level leave
    assert ((x.mean(0) - mean).abs() < 4 * error + 0.01).all()
    assert ((x.var(0) - variance).abs() <= 4 * variance * math.sqrt(2 / count) + 1e-9).all()


def configuration(folder, **refine):
    return parse_config(
        {
            "data": {"path": str(folder / "y.npy"), "validation": 0.25},
            "system": {"kind": "inpainting", "mask": str(folder / "mask.npy")},
            "noise": {"sigma": 0.1},
            "estimator": {"widths": [4]},
            "training": {"steps": 2, "batch": 2, "warmup": 0, "checkpoint_every": 1},
            "refine": {"rounds": 1, "steps": 2, "images": 3, "draw_steps": 2, **refine},
        },
        "test",
    )


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    np.save(tmp_path / "mask.npy", generator.random((8, 8, 8)) < 0.7)  # a mask for each measurement
    np.save(tmp_path / "y.npy", generator.random((8, 8, 8)).astype("float32") * np.load(tmp_path / "mask.npy"))
    return tmp_path


def test_a_run_with_a_round_ends_and_resumes_where_it_was_interrupted(folder):
    whole = train_run(create_run(folder / "whole", configuration(folder)), device="cpu").state_dict()
    assert (folder / "whole" / "round-1" / "draws.zarr").is_dir()
    run, stops = create_run(folder / "parts", configuration(folder)), 0

    def stages(title):
        def progress(done, total, metrics):
            import signal

            if (title, done) not in seen:
                seen.add((title, done))
                signal.raise_signal(signal.SIGINT)

        return progress

    seen = set()
    while True:
        try:
            parts = train_run(run, device="cpu", stages=stages).state_dict()
            break
        except Interrupted:
            stops += 1
    assert stops >= 5  # training, two sets of draws, the prior, the last stage
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_with_a_round_keeps_the_prior_and_samples_under_it(folder):
    run = create_run(folder / "run", configuration(folder))
    train_run(run, device="cpu")
    source = open_source(run.config)
    problem = open_problem(run.config, source)
    prior = run.prior(problem)
    trained = load_file(folder / "run" / "prior.safetensors")
    assert all(torch.equal(trained[name], value) for name, value in prior.state_dict().items())
    assert read_gain(run.folder) == 0, "the gain is that of measurement space"
    f, part, y = run.estimator(problem), problem.at(torch.tensor([5])), source.read(5)[None]
    draw = lambda prior: draw_samples(  # noqa: E731
        f,
        y,
        0.1,
        run.config.sampling.model_copy(update={"samples": 16}),
        make_generator("cpu", 1),
        problem=part,
        prior=prior,
    )
    missing = ~part.measured[0]
    assert float(draw(prior).std(0)[0][missing].mean()) > 0.05, "an untrained prior is a wide one"
    assert float(draw(None).std(0)[0][missing].mean()) < 0.05
    without = create_run(folder / "without", configuration(folder, rounds=0))
    train_run(without, device="cpu")
    assert without.prior(problem) is None


def test_the_prior_learns_from_turned_draws(folder, monkeypatch):
    """By the symmetries but shifts, which a convolutional network knows, and amplitudes, which no draw has another of."""
    objectives = {}

    def keep(f, objective, batches, training, stage, **options):
        objectives[stage.name] = objective
        return train(f, objective, batches, training, stage, **options)

    train = imaging.train
    monkeypatch.setattr(imaging, "train", keep)
    config = configuration(folder)
    risk = config.risk.model_copy(update={"symmetry": ("shift", "flip", "amplitude"), "equivariance": 0.0})
    train_run(create_run(folder / "run", config.model_copy(update={"risk": risk})), device="cpu")
    ramp = torch.arange(8.0).expand(400, 1, 8, 8)
    seen = []

    def f(x, s):
        seen.append((x, s))
        return x

    value = objectives["prior"](f, ramp, torch.zeros(400), make_generator("cpu", 0))
    ((x, s),) = seen
    rising = (x[..., 7] > x[..., 0]).float().mean(dim=(1, 2)) > 0.5
    assert abs(float(rising.float().mean()) - 0.5) < 4 * 0.5 / 400**0.5
    target = torch.where(rising[:, None, None, None], ramp, 7 - ramp)
    torch.testing.assert_close(value, ((x - target) ** 2).mean(dim=(1, 2, 3)) / s**2, rtol=1e-4, atol=0)
