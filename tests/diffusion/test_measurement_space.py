"""Samples of x given y = A x + n against closed forms: signals x = mu + B z, z ~ N(0, I_k), whose laws given y are

z | y ~ N((A B)^T S^-1 (y - A mu),  I - (A B)^T S^-1 A B),     S = A B (A B)^T + sigma^2 I
"""

from dataclasses import dataclass

import pytest
import torch

from unveil.diffusion import (
    SOLVERS,
    geometric,
    karras,
    measurement_denoiser,
    posterior_denoiser,
    posterior_samples,
    prior_samples,
    reconstruction_prior_samples,
    reconstruction_samples,
    samples_under_prior,
)
from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator, normal
from unveil.shapes import expand

IMAGE, N = (1, 2, 3), 6
INF = float("inf")
STEPS, ALLOWANCE = 60, 0.01  # relative error of the variance at these steps of Heun, see test_solver_order


class Matrix:
    """A (m, n) for all samples or (B, m, n), one for each; measurements are (1, 1, m)."""

    def __init__(self, a):
        self.a = a

    def A(self, x):
        return (self.a @ x.flatten(1)[:, :, None]).reshape(len(x), 1, 1, -1)

    def A_adjoint(self, y):
        return (self.a.mT @ y.flatten(1)[:, :, None]).reshape(len(y), *IMAGE)


def matrix_problem(a, measured=None):
    return Problem(Matrix(a), measured, IMAGE, (1, 1, a.shape[-2]))


def random(device, *shape, key):
    return torch.randn(shape, generator=make_generator(device, 9, key), dtype=torch.float64, device=device)


@dataclass
class Signal:
    """x = mu + B z: mu (n,), B (n, k)."""

    mu: torch.Tensor
    b: torch.Tensor

    def law(self, a, y, sigma):
        """Mean (n,) and covariance (n, n) of x given y (m,) = a x + sigma n, a (m, n)."""
        ab = a @ self.b
        gain = ab.T @ torch.linalg.inv(ab @ ab.T + sigma**2 * torch.eye(len(a)).to(ab))
        cov = torch.eye(self.b.shape[1]).to(ab) - gain @ ab
        return self.mu + self.b @ gain @ (y - a @ self.mu), self.b @ cov @ self.b.T

    def estimate(self, y, s, a):
        """f(y, s) = E[x | a x + s e = y] for y (b, 1, 1, m), s (b,) and a (m, n) or (b, m, n)."""
        assert s.shape == (len(y),)
        ab = a @ self.b
        total = ab @ ab.mT + s[:, None, None] ** 2 * torch.eye(a.shape[-2]).to(ab)
        gap = (y.flatten(1) - a @ self.mu)[:, :, None]
        z = ab.mT @ torch.linalg.solve(total, gap)
        return (self.mu + (self.b @ z)[:, :, 0]).reshape(len(y), *IMAGE)


def signal(device, k=N, key=0):
    return Signal(0.5 + 0.1 * random(device, N, key=key), 0.3 * random(device, N, k, key=key + 1))


def check_law(x, mean, cov):
    """The sample x (S, n) has this mean and covariance, in standard errors and in axes in which cov is I, and lies in its range."""
    size = len(x)
    variance, axes = torch.linalg.eigh(cov)
    seen = variance > 1e-9 * variance.max()
    torch.testing.assert_close((x - mean) @ axes[:, ~seen], torch.zeros_like(x[:, ~seen]), atol=1e-6, rtol=0)
    white = (x - mean) @ axes[:, seen] / variance[seen].sqrt()
    assert float(white.mean(0).abs().max()) < 4 / size**0.5
    error = torch.cov(white.T) - torch.eye(white.shape[1]).to(cov)
    assert float(error.abs().max()) < 4 * (2 / size) ** 0.5 + ALLOWANCE


# --- reconstruction_samples


def measure(a, signal, device, levels=(0.1, 0.2)):
    """y (B, 1, 1, m) of draws of the signal, seen through a (m, n) or (B, m, n), and sigma_n (B,)."""
    sigma = torch.tensor(levels, dtype=torch.float64, device=device)
    x = signal.mu + random(device, len(sigma), signal.b.shape[1], key=5) @ signal.b.T
    clean = Matrix(a).A(x.reshape(-1, *IMAGE))
    return clean + expand(sigma, clean) * normal(clean, make_generator(device, 6)), sigma


@pytest.mark.parametrize(
    "solver", [cls() for cls in SOLVERS.values() if cls.order == 2], ids=lambda s: type(s).__name__
)
def test_samples_of_the_posterior_where_the_operator_is_one_to_one(solver, device):
    """Two numbers seen by four: fewer than the pixels, and yet all of x."""
    prior, a = signal(device, k=2), 0.7 * random(device, 4, N, key=3)
    y, sigma = measure(a, prior, device)
    x = reconstruction_samples(
        lambda y, s: prior.estimate(y, s, a), matrix_problem(a), y, sigma, solver=solver,
        samples=5000, steps=STEPS, batch=3000, generator=make_generator(device, 1),
    )  # fmt: skip
    assert x.shape == (5000, 2, *IMAGE)
    for b in range(2):
        check_law(x[:, b].flatten(1), *prior.law(a, y[b].flatten(), sigma[b]))


def test_what_the_samples_lack_where_the_operator_is_not_one_to_one(device):
    """Cov x = Cov(x | y) - Cov(x | u): the second is constant for Gaussians, and no small part here."""
    prior, a = signal(device), random(device, 3, N, key=3)
    y, sigma = measure(a, prior, device)
    x = reconstruction_samples(
        lambda y, s: prior.estimate(y, s, a), matrix_problem(a), y, sigma,
        samples=5000, steps=STEPS, sigma_min=1e-3, batch=10000, generator=make_generator(device, 1),
    )  # fmt: skip
    for b in range(2):
        mean, cov = prior.law(a, y[b].flatten(), sigma[b])
        _, left_open = prior.law(a, y[b].flatten(), 0.0)
        assert float(left_open.trace()) > 0.3 * float(cov.trace())
        check_law(x[:, b].flatten(1), mean, cov - left_open)


def test_the_sample_that_is_returned_is_the_one_that_the_diffusion_ends_in(device):
    """A x = u, exactly: of the same draws, the last step of `posterior_samples` is A f."""
    prior, a = signal(device), random(device, 3, N, key=3)
    y, sigma = measure(a, prior, device)
    problem = matrix_problem(a)
    f = lambda y, s: prior.estimate(y, s, a)  # noqa: E731
    draw = {"samples": 4, "steps": 7, "batch": 3, "schedule": karras}
    x = reconstruction_samples(f, problem, y, sigma, generator=make_generator(device, 1), **draw)
    u = posterior_samples(measurement_denoiser(f, problem), y, sigma, generator=make_generator(device, 1), **draw)
    torch.testing.assert_close(problem.predict(x.flatten(0, 1)), u.flatten(0, 1), atol=1e-10, rtol=0)


def test_denoising_is_posterior_sampling(device, dtype):
    shrink = lambda x, s: 0.5 + expand(0.04 / (0.04 + s**2), x) * (x - 0.5)  # noqa: E731
    y = torch.rand(3, 2, 4, 3, generator=make_generator(device, 0), dtype=dtype, device=device)
    a, b = (
        draw(y, 0.1, generator=make_generator(device, 1), samples=5, steps=6, batch=4)
        for draw in (
            lambda *args, **kwargs: reconstruction_samples(shrink, DENOISING, *args, **kwargs),
            lambda *args, **kwargs: posterior_samples(shrink, *args, **kwargs),
        )
    )
    assert a.dtype == dtype
    torch.testing.assert_close(a, b)


# --- masks


def masked_case(device):
    prior, a = signal(device, k=2), 0.7 * random(device, 7, N, key=3)
    measured = torch.tensor([1, 0, 1, 1, 0, 1, 0], dtype=torch.bool, device=device)
    problem = matrix_problem(a, measured.reshape(1, 1, 1, 7))
    y, sigma = measure(a, prior, device)
    kept = a[measured]
    estimate = lambda y, s: prior.estimate(y[..., measured], s, kept)  # noqa: E731
    return prior, kept, measured, problem, y, sigma, estimate


def test_entries_that_are_not_measured_play_no_part(device):
    """Whatever y holds there, and whatever the solver adds: f sees zeros, D returns zeros, the samples are the same."""
    prior, kept, measured, problem, y, sigma, estimate = masked_case(device)

    def curious(y, s):
        assert bool((y[..., ~measured] == 0).all())
        return estimate(y, s) + 1e3 * y[..., ~measured].sum((1, 2, 3), keepdim=True)

    spoiled = torch.where(measured, y, 1e3 * torch.ones_like(y))
    draw = {"samples": 5000, "steps": STEPS, "batch": 10000}
    x, same = (
        reconstruction_samples(f, problem, data, sigma, generator=make_generator(device, 1), **draw)
        for f, data in ((estimate, y), (curious, spoiled))
    )
    assert torch.equal(x, same)
    u = measurement_denoiser(curious, problem)(spoiled, sigma)
    assert bool((u[..., ~measured] == 0).all())
    assert bool((u[..., measured] != 0).all())
    for b in range(2):
        check_law(x[:, b].flatten(1), *prior.law(kept, y[b, 0, 0, measured], sigma[b]))


# --- prior


def test_samples_of_the_prior(device, dtype):
    prior, _, _, problem, _, _, estimate = masked_case(device)
    x = reconstruction_prior_samples(
        lambda y, s: estimate(y.double(), s.double()).to(dtype), problem_in(problem, dtype), (5000, 1, 1, 7), 20.0,
        trained_max=20.0, generator=make_generator(device, 2), steps=2 * STEPS, batch=3000, dtype=dtype,
    )  # fmt: skip
    assert (x.shape, x.dtype) == ((5000, *IMAGE), dtype)
    check_law(x.double().flatten(1), prior.mu, prior.b @ prior.b.T)


def problem_in(problem, dtype):
    return matrix_problem(problem.operator.a.to(dtype), problem.measured)


def test_the_start_of_the_prior_is_at_the_image_of_the_mean(device):
    """y = 2 x: started at 2 * 0.5 + s w with an s too low, x keeps the share c / (c + s^2), c = 4 var x, of 0.5 - E x."""
    mean, variance, s, n = 0.3, 0.09, 0.4, 20_000
    problem = Problem(Matrix(2 * torch.eye(N, dtype=torch.float64, device=device)), None, IMAGE, (1, 1, N))
    share = lambda s: 4 * variance / (4 * variance + s**2)  # noqa: E731
    x = reconstruction_prior_samples(
        lambda y, s: mean + expand(share(s), y).reshape(-1, 1, 1, 1) * (y.reshape(-1, *IMAGE) / 2 - mean), problem, (n, 1, 1, N), s,
        trained_max=INF, generator=make_generator(device, 3), steps=STEPS, batch=n, dtype=torch.float64,
    )  # fmt: skip
    left = variance * (1 - share(s) ** 2)
    assert float(x.mean()) == pytest.approx(mean + (0.5 - mean) * share(s), abs=4 * (left / x.numel()) ** 0.5)
    assert float(x.var()) == pytest.approx(left, rel=4 * (2 / x.numel()) ** 0.5 + ALLOWANCE)


# --- operators of their own


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 64])
@pytest.mark.parametrize("what", ["posterior", "prior"])
def test_each_measurement_meets_its_own_operator(what, batch, device):
    """The b-th is A = b I: f gets the rows of just the samples in y, at their values A 1/2 at first, and says which they are."""
    rows = torch.arange(1.0, 4.0, dtype=torch.float64, device=device)
    several = Several({"a": rows[:, None, None] * torch.eye(N).to(rows)}, matrix_problem)
    high = 1e-3

    def f(y, s, problem):
        own = problem.operator.a[:, 0, 0]
        assert len(own) == len(y) == len(s) <= batch
        if bool((s == high).all()):
            assert float((y - 0.5 * expand(own, y)).abs().max()) < 6 * high
        return expand(own, y) * torch.ones_like(y).reshape(-1, *IMAGE)

    draw = {"generator": make_generator(device, 0), "sigma_min": 0.1 * high, "steps": 3, "batch": batch}
    if what == "prior":
        shape = (3, 1, 1, N)
        x = reconstruction_prior_samples(f, several, shape, high, trained_max=INF, dtype=torch.float64, **draw)
    else:
        y = 0.5 * expand(rows, torch.empty(3, 1, 1, N)) * torch.ones(3, 1, 1, N).to(rows)
        x = reconstruction_samples(f, several, y, high, samples=4, **draw)
        assert x.shape == (4, 3, *IMAGE)
    assert torch.equal(x, rows.reshape(3, 1, 1, 1) * torch.ones_like(x))


def test_samples_of_the_posterior_by_several_operators(device):
    prior, a = signal(device, k=2), 0.7 * random(device, 3, 4, N, key=3)
    y, sigma = measure(a, prior, device, levels=(0.05, 0.1, 0.2))
    x = reconstruction_samples(
        lambda y, s, problem: prior.estimate(y, s, problem.operator.a), Several({"a": a}, matrix_problem), y, sigma,
        samples=3000, steps=STEPS, batch=4000, generator=make_generator(device, 1),
    )  # fmt: skip
    for b in range(3):
        check_law(x[:, b].flatten(1), *prior.law(a[b], y[b].flatten(), sigma[b]))


def test_progress_counts_over_all_batches(device):
    seen = []
    y = torch.zeros(3, 1, 1, N, device=device)
    reconstruction_samples(
        lambda y, s: y.reshape(-1, *IMAGE), matrix_problem(torch.eye(N, device=device)), y, 0.1, steps=4, samples=2, batch=4,
        generator=make_generator(device, 0), progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(i + 1, 8) for i in range(8)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"batch": 0}, "batch 0"),
        ({"steps": 1}, "steps 1"),
        ({"sigma_n": 0.0}, "sigma_n is 0"),
        ({"sigma_min": 0.2}, "lower sigma_min"),
        ({"problem": Several({"a": torch.ones(3, N, N)}, matrix_problem)}, "3 operators for 2 measurements"),
        ({"problem": matrix_problem(torch.eye(N), torch.ones(2, 1, 1, 1) > 0)}, "pass the `Several`"),
    ],
)
def test_errors(change, message, device):
    arguments = {"sigma_n": 0.1, "problem": DENOISING, "generator": make_generator(device, 0)} | change
    with pytest.raises(UnveilError, match=message):
        reconstruction_samples(lambda y, s: y, y=torch.zeros(2, 1, 1, N, device=device), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained_max": 0.5}, "lower sigma_max"),
        ({"batch": 0}, "batch 0"),
        ({"schedule": geometric, "sigma_min": 2.0}, "sigma_min"),
    ],
)
def test_prior_errors(change, message, generator):
    arguments = {"trained_max": 1.0, "generator": generator} | change
    with pytest.raises(UnveilError, match=message):
        reconstruction_prior_samples(lambda y, s: y, DENOISING, (2, 1, 1, N), 1.0, **arguments)


# --- posterior_denoiser


def gaussian_denoiser(prior):
    """D(x, s) of the signal itself: the estimator of A = I."""
    return lambda x, s: prior.estimate(x.reshape(-1, 1, 1, N), s, torch.eye(N).to(prior.mu))


def closed_form(prior, a, x_s, s, y, sigma):
    """E[x | x_s, y] from both measurements as one, each divided by its noise's deviation."""
    both = torch.cat([torch.eye(N).to(a) / s, a / sigma])
    return prior.law(both, torch.cat([x_s / s, y / sigma]), 1.0)[0]


def mmps_case(device, count=4):
    prior, a = signal(device), random(device, count, 3, N, key=3)
    levels = (0.05, 0.1, 0.2, 0.4)[:count]
    y, sigma = measure(a, prior, device, levels)
    s = torch.tensor([0.03, 0.3, 1.0, 10.0], dtype=torch.float64, device=device)[:count]
    x = prior.mu.reshape(IMAGE) + expand((1 + s**2).sqrt(), y) * random(device, count, *IMAGE, key=7)
    return prior, a, y, sigma, x, s


@pytest.mark.parametrize("iterations", [3, 4, 12])
def test_the_posterior_denoiser_of_a_gaussian(iterations, device):
    """Three measured numbers: three iterations solve the system, and more do no harm. Rows of A, y, sigma and s all differ."""
    prior, a, y, sigma, x, s = mmps_case(device)
    problem = Several({"a": a}, matrix_problem).at(torch.arange(4, device=device))
    found = posterior_denoiser(gaussian_denoiser(prior), problem, y, sigma, iterations)(x, s)
    assert not found.requires_grad
    for b in range(4):
        exact = closed_form(prior, a[b], x[b].flatten(), s[b], y[b].flatten(), sigma[b])
        torch.testing.assert_close(found[b].flatten(), exact, atol=1e-8, rtol=0)


def test_the_posterior_denoiser_reads_measured_entries_alone(device):
    prior, a, y, sigma, x, s = mmps_case(device)
    measured = torch.tensor([1, 0, 1], dtype=torch.bool, device=device)
    problem = matrix_problem(a[0], measured.reshape(1, 1, 1, 3))
    spoiled = torch.where(measured, y, 1e3 * torch.ones_like(y))
    found = posterior_denoiser(gaussian_denoiser(prior), problem, spoiled, sigma, 2)(x, s)
    for b in range(4):
        exact = closed_form(prior, a[0][measured], x[b].flatten(), s[b], y[b, 0, 0, measured], sigma[b])
        torch.testing.assert_close(found[b].flatten(), exact, atol=1e-8, rtol=0)


def test_fewer_iterations_come_near(device):
    """Each minimises the error in the norm of its system: with one the estimate is nearer than with none, with two nearer still."""
    prior, a, y, sigma, x, s = mmps_case(device)
    problem = matrix_problem(a)
    denoise = gaussian_denoiser(prior)
    exact = posterior_denoiser(denoise, problem, y, sigma, 6)(x, s)
    errors = [
        (estimate - exact).flatten(1).norm(dim=1)
        for estimate in (
            denoise(x, s),
            *(posterior_denoiser(denoise, problem, y, sigma, k)(x, s) for k in (1, 2, 3)),
        )
    ]
    assert bool((errors[1] < errors[0]).all())
    assert bool((errors[2] < 0.5 * errors[0]).all())
    assert bool((errors[3] < 1e-8).all())


def test_samples_of_the_posterior_by_the_prior(device):
    """What measurement space cannot draw: here A is not one-to-one."""
    prior, a = signal(device), random(device, 3, N, key=3)
    y, sigma = measure(a, prior, device)
    denoise = posterior_denoiser(gaussian_denoiser(prior), matrix_problem(a), y[:1], sigma[:1])
    x = prior_samples(
        denoise, (4000, *IMAGE), 10.0, trained_max=10.0, generator=make_generator(device, 4), steps=STEPS, batch=2500,
        dtype=torch.float64,
    )  # fmt: skip
    check_law(x.flatten(1), *prior.law(a, y[0].flatten(), sigma[0]))


@pytest.mark.parametrize("several", [False, True])
def test_samples_under_the_prior_of_each_measurement(several, device):
    """From a start that is wrong, with one operator for both or each its own; A is not one-to-one."""
    prior, a = signal(device), random(device, *([2] if several else []), 3, N, key=3)
    y, sigma = measure(a, prior, device)
    start = 0.5 + random(device, 2, *IMAGE, key=8)
    x = samples_under_prior(
        gaussian_denoiser(prior), Several({"a": a}, matrix_problem) if several else matrix_problem(a), y, sigma, start, 10.0,
        samples=4000, steps=STEPS, generator=make_generator(device, 4),
    )  # fmt: skip
    assert x.shape == (4000, 2, *IMAGE)
    for b in range(2):
        check_law(x[:, b].flatten(1), *prior.law(a[b] if several else a, y[b].flatten(), sigma[b]))


def test_the_search_ends_where_the_curvature_is_not_positive(device):
    """Slopes -1 and -2 make it 0 and -1: D itself is returned, and the sample beside them is not touched."""
    slope = torch.tensor([-1.0, -2.0, 1.0], dtype=torch.float64, device=device)
    x, s = torch.ones(3, *IMAGE, dtype=torch.float64, device=device), torch.ones_like(slope)
    found = posterior_denoiser(lambda x, s: expand(slope, x) * x, DENOISING, 2 * x, 1.0, 3)(x, s)
    torch.testing.assert_close(found, expand(torch.tensor([-1.0, -2.0, 1.5]).to(slope), x) * x)


def test_single_precision_and_a_network(device):
    """More iterations than float32 can use, and a J that is not symmetric: finite, and no gradient is left in the weights."""
    _, a, y, sigma, x, s = mmps_case(device)
    net = torch.nn.Linear(N, N, device=device)
    problem = matrix_problem(a.float())
    found = posterior_denoiser(
        lambda x, s: net(x.flatten(1)).reshape(x.shape), problem, y.float(), sigma.float(), 20
    )(x.float(), s.float())  # fmt: skip
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    assert net.weight.grad is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations is 0"),
        ({"sigma_n": 0.0}, "sigma_n is 0"),
        ({"sigma_n": torch.ones(3)}, "sigma_n has shape"),
    ],
)
def test_posterior_denoiser_errors(change, message, device):
    arguments = {"sigma_n": 0.1, "y": torch.zeros(2, 1, 2, 3, device=device)} | change
    with pytest.raises(UnveilError, match=message):
        posterior_denoiser(lambda x, s: x, DENOISING, **arguments)


def test_posterior_denoiser_call_errors(device):
    x, s = torch.zeros(3, 1, 2, 3, device=device), torch.ones(3, device=device)
    with pytest.raises(UnveilError, match="3 images for 2 measurements"):
        posterior_denoiser(lambda x, s: x, DENOISING, x[:2], 0.1)(x, s)
    with pytest.raises(UnveilError, match="no gradient in x"):
        posterior_denoiser(torch.no_grad()(lambda x, s: 2 * x), DENOISING, x, 0.1)(x, s)
