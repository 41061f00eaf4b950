"""Samples of x given y = A x + n by going on with A itself, against closed forms: u = A x is right, and x what u leaves
of it."""

import pytest
import torch
from known_laws import Matrix, Mixture, check_law, matrix, repeated, signal

from unveil.diffusion import go_on, karras, posterior_samples
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator

N = 6
HOW = {"steps": 40, "lowest": 0.01, "batch": 100_000}
ALLOWANCE = 0.015  # in a variance, at these steps: test_go_on_order


def random(*shape, key):
    return torch.randn(shape, generator=make_generator("cpu", 9, key), dtype=torch.float64)


def measured(operator, prior, device, levels=(0.1, 0.2)):
    """One measurement a level, of draws of the signal."""
    operator, noise = operator.to(device), Gaussian(torch.tensor(levels, dtype=torch.float64, device=device))
    u = operator.A(prior.sample(len(levels), 5).to(device))
    return Measurement(noise.sample(u, make_generator(device, 6)), operator, noise)


def check_samples(x, prior, m, end=0.0):
    """x (S, B, n) of exact law: that of E[x | u] where the diffusion ends at u with noise of level `end` sigma."""
    prior = prior.to(m.y.device)
    for b in range(len(m)):
        one = m[b : b + 1]
        law = prior.posterior(one)
        if end:
            left = prior.posterior(Measurement(one.y, one.operator, one.noise.scaled(end))).cov()
            law = Mixture(law.weights, law.means, root(law.cov() - left)[None])
        check_law(x[:, b], law, ALLOWANCE)


def root(cov):
    """F with F F^T = cov, of the rank that it has but for rounding."""
    variance, axes = torch.linalg.eigh(cov)
    return axes * torch.where(variance > 1e-6 * variance.max(), variance, 0).sqrt()


# --- one operator for all, one to one on the signals or not


@pytest.mark.parametrize("several", [False, True])
def test_the_posterior_where_the_operator_is_one_to_one(several, device):
    """Two numbers seen by four: fewer than the pixels, and yet all of x. With one operator, and with one for each."""
    prior, a = signal(N, 2), 0.7 * random(2 if several else 1, 4, N, key=3)
    m = measured(Matrix(a), prior, device)
    assert m.operator.count == (2 if several else None)
    x = posterior_samples(prior.to(device).estimate, m, make_generator(device, 1), samples=3000, **HOW)
    assert x.shape == (3000, 2, N)
    check_samples(x, prior, m)


@pytest.mark.parametrize("lowest", [0.001, 0.05, 0.5])
def test_what_the_samples_lack_where_the_operator_is_not_one_to_one(lowest, device):
    """Cov x = Cov(x | y) - E Cov(x | y_T): what A leaves open, no small part here, and of a variance c of u the share
    s^2 / (c + s^2)."""
    prior, m = signal(N), measured(Matrix(random(1, 3, N, key=3)), signal(N), device)
    x = posterior_samples(
        prior.to(device).estimate, m, make_generator(device, 1), samples=3000, **HOW | {"lowest": lowest}
    )
    blind = Measurement(m.y[:1], m.operator, Gaussian(1e-6))
    left, all_ = (float(prior.to(device).posterior(one).cov().trace()) for one in (blind, m[:1]))
    assert left > 0.3 * all_
    check_samples(x, prior, m, end=lowest)
    with pytest.raises(AssertionError):
        check_samples(x, prior, m)


# --- masks


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("k", [2, N])
def test_masks(k, several, device):
    """Four of six entries: all of a signal of two dimensions; of one of six what is missing is the mean given the
    others."""
    shown = torch.tensor([[1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]], dtype=torch.bool)[: 2 if several else 1]
    prior = signal(N, k)
    m = measured(Inpainting((N,), shown), prior, device)
    x = posterior_samples(prior.to(device).estimate, m, make_generator(device, 1), samples=3000, **HOW)
    check_samples(x, prior, m, end=0.01)


def test_entries_that_are_not_measured_play_no_part(device):
    """Whatever y holds there, and whatever noise is added: f sees zeros, D returns zeros, the samples are the same."""
    prior, a = signal(N, 2).to(device), 0.7 * random(1, 7, N, key=3)
    seen = torch.tensor([[1, 0, 1, 1, 0, 1, 0]], dtype=torch.bool)
    m = measured(Matrix(a, seen), prior, device)
    hidden = ~seen[0].to(device)

    def curious(m):
        assert bool((m.y[:, hidden] == 0).all())
        return prior.estimate(m) + 1e3 * m.y[:, hidden].sum(1, keepdim=True)

    spoiled = Measurement(torch.where(hidden, 1e3, m.y), m.operator, m.noise)
    x, same = (
        posterior_samples(f, data, make_generator(device, 1), samples=3000, **HOW)
        for f, data in ((prior.estimate, m), (curious, spoiled))
    )
    assert torch.equal(x, same)
    check_samples(x, prior, m)
    kept = m.operator.a[:, ~hidden]
    alone = Measurement(m.y[:, ~hidden], Matrix(kept), m.noise)
    check_samples(x, prior, alone)
    on = go_on(curious, spoiled, karras(0.1, 3), make_generator(device, 1))
    assert bool((on.y[:, hidden] == 0).all())
    assert bool((on.y[:, ~hidden] != 0).all())


# --- an operator and a level for each measurement


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 64])
def test_each_measurement_meets_its_own_operator(batch, device):
    """The b-th is A = b I: f gets the rows of just the samples in y, at their values A 1/2 at first, and says which
    they are."""
    rows = torch.arange(1.0, 4.0, dtype=torch.float64, device=device)[:, None]
    high = 1e-3

    def f(m):
        own = m.operator.a[:, 0, 0, None]
        assert len(own) == len(m) <= batch
        if bool((m.level >= high).all()):
            assert float((m.y - 0.5 * own).abs().max()) < 6 * high
        return own * torch.ones_like(m.y)

    operator = Matrix(rows[:, :, None] * torch.eye(N, dtype=torch.float64, device=device))
    m = Measurement(0.5 * rows * torch.ones(3, N).to(rows), operator, Gaussian(torch.tensor(high, dtype=torch.float64)))
    x = posterior_samples(f, m, make_generator(device, 0), samples=4, steps=3, lowest=0.1, batch=batch)
    assert torch.equal(x, rows.expand(4, 3, N))


def test_the_sample_that_is_returned_is_the_one_that_the_diffusion_ends_in(device):
    """x = f(y_T) and A x -> u = y_T: what f reads says no more than the last level of noise."""
    prior, m = signal(N).to(device), measured(Matrix(random(1, 3, N, key=3)), signal(N), device, levels=(0.1,))
    many = repeated(m, 500)
    on = go_on(prior.estimate, many, karras(0.001, 40), make_generator(device, 1))
    gap = on.y - m.predict(prior.estimate(on))
    assert float(gap.abs().max()) < 6 * 1e-4
    u = matrix(m)[0] @ prior.posterior(m).factors[0]
    torch.testing.assert_close(torch.cov(on.y.T), u @ u.T, atol=float((u @ u.T).max()) * 4 * (2 / 500) ** 0.5, rtol=0)
