"""The estimator of x under a learned prior that also knows y = A x + n, and the samples drawn with it, against closed
forms."""

import pytest
import torch
from known_laws import Matrix, check_law, noisy, signal

from mmps import UnderPrior, samples_under_prior
from unveil.diffusion import Camera, geometric, go_on
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.shapes import expand

N, ALLOWANCE = 6, 0.015


def random(*shape, key):
    return torch.randn(shape, generator=make_generator("cpu", 9, key), dtype=torch.float64)


def measured(a, prior, device, levels=(0.1, 0.2)):
    operator, noise = Matrix(a.to(device)), Gaussian(torch.tensor(levels, dtype=torch.float64, device=device))
    u = operator.A(prior.sample(len(levels), 5).to(device))
    return Measurement(noise.sample(u, make_generator(device, 6)), operator, noise)


def case(device, operators=4):
    """y of four levels, by one operator or four, and what a camera adds at exposures of its own."""
    prior, a = signal(N).to(device), random(operators, 3, N, key=3)
    m = measured(a, prior, device, (0.05, 0.1, 0.2, 0.4))
    s = torch.tensor([0.03, 0.3, 1.0, 10.0], dtype=torch.float64, device=device)
    x_t = prior.means[0] + (1 + s**2).sqrt()[:, None] * random(4, N, key=7).to(device)
    return prior, m, x_t, s


@pytest.mark.parametrize("iterations", [3, 4, 12])
@pytest.mark.parametrize("operators", [1, 4])
def test_of_a_gaussian_it_is_exact(operators, iterations, device):
    """Three measured numbers: three iterations solve the system, and more do no harm.

    Rows of A, y, sigma and s all differ.
    """
    prior, m, x_t, s = case(device, operators)
    known = Camera(m).known(x_t, s**-2)
    found = UnderPrior(prior.estimate, iterations)(known)
    assert not found.requires_grad
    torch.testing.assert_close(found, prior.estimate(known), atol=1e-8, rtol=0)


def test_measured_entries_alone_are_read(device):
    prior, m, x_t, s = case(device, 1)
    seen = torch.tensor([[1, 0, 1]], dtype=torch.bool, device=device)
    spoiled = torch.where(seen, m.y, 1e3)
    hidden = Measurement(spoiled, Matrix(m.operator.a, seen), m.noise)
    alone = Measurement(m.y[:, seen[0]], Matrix(m.operator.a[:, seen[0]]), m.noise)
    found = UnderPrior(prior.estimate, 2)(Camera(hidden).known(x_t, s**-2))
    torch.testing.assert_close(found, prior.estimate(Camera(alone).known(x_t, s**-2)), atol=1e-8, rtol=0)


def test_fewer_iterations_come_near(device):
    """Each minimises the error in the norm of its system: with one the estimate is nearer than with none, with two
    nearer still."""
    prior, m, x_t, s = case(device)
    known = Camera(m).known(x_t, s**-2)
    estimates = [prior.estimate(noisy(x_t, s)), *(UnderPrior(prior.estimate, k)(known) for k in (1, 2, 3))]
    errors = [(estimate - prior.estimate(known)).norm(dim=1) for estimate in estimates]
    assert bool((errors[1] < errors[0]).all())
    assert bool((errors[2] < 0.5 * errors[0]).all())
    assert bool((errors[3] < 1e-8).all())


@pytest.mark.parametrize("operators", [1, 2])
def test_samples_are_those_of_the_posterior(operators, device):
    """What measurement space cannot draw: A is not one-to-one.

    From a start that is wrong, with one operator for both or two.
    """
    prior = signal(N).to(device)
    m = measured(random(operators, 3, N, key=3), prior, device)
    about = 0.5 + random(2, N, key=8).to(device)
    x = samples_under_prior(prior.estimate, m, about, 10.0, make_generator(device, 4), samples=3000, steps=50)
    assert x.shape == (3000, 2, N)
    for b in range(2):
        check_law(x[:, b], prior.posterior(m[b : b + 1]), ALLOWANCE)


def test_samples_start_about_the_estimate_and_end_at_the_lowest_level(device):
    """With geometric steps from `highest` down to lowest times the level of each measurement; progress counts over
    all."""
    m = measured(torch.eye(N, dtype=torch.float64)[None], signal(N), device)
    about, levels, seen = torch.full((2, N), 7.0, dtype=torch.float64, device=device), [], []

    def denoise(m):
        levels.append(float(m.level[0]))
        if m.level[0] == 4:
            assert float((m.y.detach() - 7).std()) == pytest.approx(4, rel=0.1)
            assert float((m.y.detach() - 7).mean()) == pytest.approx(0, abs=0.4)
        return m.y / (1 + m.level[:, None] ** 2)

    how = {"samples": 500, "steps": 5, "lowest": 0.1, "schedule": geometric}
    draw = lambda seed: samples_under_prior(  # noqa: E731
        denoise, m, about, 4.0, make_generator(device, seed), **how, progress=lambda *done: seen.append(done)
    )
    x = draw(1)
    assert levels[:5] == pytest.approx([4 * (0.01 / 4) ** (i / 4) for i in range(5)])
    assert levels[5:] == pytest.approx([4 * (0.02 / 4) ** (i / 4) for i in range(5)])
    assert seen == [(i + 1, 10) for i in range(10)]
    assert torch.equal(x, draw(1))
    assert not torch.equal(x, draw(2))


def test_the_search_ends_where_the_curvature_is_not_positive(device):
    """Slopes -1 and -2 make it 0 and -1: D itself is returned, and the sample beside them is not touched."""
    slope = torch.tensor([-1.0, -2.0, 1.0], dtype=torch.float64, device=device)
    x = torch.ones(3, 1, 2, 3, dtype=torch.float64, device=device)
    m = Measurement(2 * x, Identity(), Gaussian(1.0))
    found = UnderPrior(lambda m: expand(slope, m.y) * m.y)(Camera(m).known(x, torch.ones_like(slope)))
    torch.testing.assert_close(found, expand(torch.tensor([-1.0, -2.0, 1.5]).to(slope), x) * x)


def test_single_precision_and_a_network(device):
    """More iterations than float32 can use, and a J that is not symmetric: finite, and no gradient is left in the
    weights."""
    _, m, x_t, s = case(device, 1)
    net = torch.nn.Linear(N, N, device=device)
    m = Measurement(m.y.float(), Matrix(m.operator.a.float()), m.noise)
    found = UnderPrior(lambda m: net(m.y), 20)(Camera(m).known(x_t.float(), s.float() ** -2))
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    assert net.weight.grad is None


def test_refusals(device):
    m = noisy(torch.zeros(2, 1, 2, 3, device=device), 0.1)
    t = torch.ones(2, device=device)
    with pytest.raises(UnveilError, match="iterations is 0"):
        UnderPrior(lambda m: m.y, 0)
    with pytest.raises(UnveilError, match="no gradient in x"):
        UnderPrior(torch.no_grad()(lambda m: 2 * m.y))(Camera(m).known(m.y, t))
    with pytest.raises(UnveilError, match="give measurements that Camera makes"):
        UnderPrior(lambda m: m.y)(m)
    with pytest.raises(UnveilError, match="start it at an exposure > 0"):
        go_on(UnderPrior(lambda m: m.y), m, torch.tensor([0.0, 1.0]), make_generator(device, 0), instrument=Camera(m))
    with pytest.raises(UnveilError, match=r"must be in \(0, 1\)"):
        samples_under_prior(lambda m: m.y, m, m.y, 0.001, make_generator(device, 0))
