import pytest
import torch
from priors import bimodal, correlated, gaussian

from unveil.diffusion import SCHEDULES, SOLVERS, Heun, geometric, karras, posterior_samples, prior_samples
from unveil.errors import UnveilError
from unveil.random import make_generator

INF = float("inf")


def shrink(x, sigma):
    gain = (0.04 / (0.04 + sigma**2)).reshape(-1, *[1] * (x.ndim - 1))
    return 0.5 + gain * (x - 0.5)


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_posterior_shape_batches_and_progress(batch, device, dtype):
    y = torch.rand(3, 2, 4, 3, generator=make_generator(device, 0), dtype=dtype, device=device)
    largest, seen = [], []

    def denoise(x, sigma):
        largest.append(len(x))
        return shrink(x, sigma)

    out = posterior_samples(
        denoise, y, 0.1, generator=make_generator(device, 1), samples=5, steps=4, batch=batch,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (out.shape, out.dtype, out.device.type) == ((5, 3, 2, 4, 3), dtype, device.type)
    assert max(largest) == min(batch, 15)
    parts = -(-15 // batch)
    assert seen == [(i + 1, 4 * parts) for i in range(4 * parts)]
    assert len(out.unique(dim=0)) == 5, "every draw is its own"


@pytest.mark.parametrize("batch", [3, 64])
def test_posterior_of_each_image_with_its_own_level(batch, device):
    """Samples land in the right slots: pixels N(0.5, 0.2^2), three levels, batch size = width."""
    y = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64, device=device).reshape(3, 1, 1, 1).expand(3, 1, 20, 3)
    sigma_n = torch.tensor([0.05, 0.1, 0.3], dtype=torch.float64, device=device)
    x = posterior_samples(shrink, y, sigma_n, generator=make_generator(device, 2), samples=200, batch=batch)
    n = 200 * 60
    gain = 0.04 / (0.04 + sigma_n**2)
    variance = gain * sigma_n**2
    mean = 0.5 + gain * (y[:, 0, 0, 0] - 0.5)
    assert bool(((x.mean((0, 2, 3, 4)) - mean).abs() < 4 * (variance / n).sqrt()).all())
    ratio = x.transpose(0, 1).reshape(3, -1).var(1) / variance
    assert bool(((ratio - 1).abs() < 4 * (2 / n) ** 0.5 + 0.02).all())


def test_posterior_defaults_to_a_hundredth_of_the_noise(device):
    levels = []
    y = torch.zeros(1, 2, device=device)

    def denoise(x, sigma):
        levels.append(float(sigma[0]))
        return shrink(x, sigma)

    posterior_samples(denoise, y, 0.3, generator=make_generator(device, 0), samples=1)
    assert levels[0] == pytest.approx(0.3)
    assert levels[-1] == pytest.approx(0.003)
    assert len(levels) == 49
    posterior_samples(denoise, y, 0.3, generator=make_generator(device, 0), samples=1, sigma_min=0.02, schedule=karras)
    assert levels[-1] == pytest.approx(0.02)


def test_posterior_grows_no_graph_and_repeats(device):
    y = torch.zeros(2, 3, device=device, requires_grad=True)
    a, b = (posterior_samples(shrink, y, 0.1, generator=make_generator(device, 4), steps=3) for _ in range(2))
    assert not a.requires_grad
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"sigma_n": 0.0}, "sigma_n is 0"),
        ({"sigma_n": torch.ones(3)}, "sigma_n has shape"),
        ({"sigma_min": 0.2}, "lower sigma_min"),
        ({"sigma_min": 0.0}, "sigma_min is 0"),
    ],
)
def test_posterior_errors(change, message, device):
    arguments = {"sigma_n": 0.1, "generator": make_generator(device, 0)} | change
    with pytest.raises(UnveilError, match=message):
        posterior_samples(shrink, torch.zeros(2, 1, 3, 3, device=device), **arguments)


@pytest.mark.parametrize("solver", [cls() for cls in SOLVERS.values()], ids=list(SOLVERS))
@pytest.mark.parametrize("prior", [correlated(), bimodal()], ids=["gaussian", "mixture"])
def test_prior_mean_and_covariance(solver, prior, device, dtype):
    """sigma_max = 3, signal deviations up to 0.27: the start loses less than 1e-4 of the variance."""
    n, like = 10_000, torch.empty(0, dtype=dtype, device=device)
    prior = prior.to(like)
    x = prior_samples(
        prior.denoise, (n, prior.means.shape[1]), 3.0, trained_max=3.0, generator=make_generator(device, 3),
        steps=300 if solver.order == 1 else 60, solver=solver, batch=n, dtype=dtype,
    )  # fmt: skip
    cov = prior.cov()
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), (x - prior.mean()).T, upper=False)
    error = torch.cov(white) - torch.eye(len(cov), dtype=dtype, device=device)
    fourth = ((white**2).var(1) / n).sqrt().max()  # a standard error of the variances, whatever the law
    allowance = 0.04 if solver.order == 1 else 0.02
    assert float(white.mean(1).abs().max()) < 4 / n**0.5 + 0.01
    assert float(error.abs().max()) < 4 * max(float(fourth), (1 / n) ** 0.5) + allowance


def test_prior_start_costs_what_the_module_says():
    """A start too low loses variance and keeps the wrong mean: by the amounts stated."""
    c, s, n = 0.09, 0.4, 40_000
    x = prior_samples(
        gaussian([0.3], [[c]]).denoise, (n, 1), s, trained_max=INF, generator=make_generator("cpu", 0),
        steps=60, mean=0.5, batch=n, dtype=torch.float64,
    )  # fmt: skip
    gain = c / (c + s**2)
    variance = c * (1 - gain**2)
    assert float(x.mean()) == pytest.approx(0.3 + 0.2 * gain, abs=4 * (variance / n) ** 0.5)
    assert float(x.var()) == pytest.approx(variance, rel=4 * (2 / n) ** 0.5 + 0.01)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))
def test_prior_shape_batches_and_dtype(schedule, device, dtype):
    seen = []
    x = prior_samples(
        shrink, (5, 2, 3, 4), 1.0, trained_max=1.0, generator=make_generator(device, 0), steps=3, batch=2,
        solver=Heun(), schedule=schedule, dtype=dtype,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (x.shape, x.dtype, x.device.type) == ((5, 2, 3, 4), dtype, device.type)
    assert seen == [(i + 1, 9) for i in range(9)]
    assert len(x.unique(dim=0)) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained_max": 0.5}, "trained up to 0.5: lower sigma_max or train"),
        ({"trained_max": float("nan")}, "trained up to nan"),
        ({"batch": 0}, "batch is 0"),
        ({"sigma_min": 2.0, "schedule": geometric}, "lower sigma_min"),
    ],
)
def test_prior_errors(change, message, generator):
    arguments = {"trained_max": 1.0, "generator": generator} | change
    with pytest.raises(UnveilError, match=message):
        prior_samples(shrink, (2, 1, 3, 3), 1.0, **arguments)
