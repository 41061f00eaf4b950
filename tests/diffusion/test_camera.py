"""Going on with an ideal camera, B = I: samples of p(x | y) also of what A does not see, where going on with A returns
the mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from known_laws import Matrix, bimodal, check_law, gaussian, noisy, one_gamma, repeated, signal
from scipy.stats import gamma, kstest

from unveil.diffusion import Camera, geometric, go_on, karras, posterior_samples
from unveil.errors import UnveilError
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators.beside import Beside
from unveil.operators.identity import Identity
from unveil.random import make_generator

N, ALLOWANCE = 4, 0.02
SHOWN = torch.tensor([[True, False, True, False]])
WIDE = torch.tensor([[[1.0, 0.5, 0.0, -0.5], [0.0, 0.3, 1.2, 0.4]]], dtype=torch.float64)
BLIND = {"mask": lambda: Inpainting((N,), SHOWN), "matrix": lambda: Matrix(WIDE)}


def measured(operator, prior, device, levels=(0.1,)):
    operator, noise = operator.to(device), Gaussian(torch.tensor(levels, dtype=torch.float64, device=device))
    u = operator.A(prior.sample(len(levels), 5).to(device))
    return Measurement(noise.sample(u, make_generator(device, 6)), operator, noise)


def exposures(steps, first=1.0, last=1e6):
    """From t = 0, then geometric: a camera of noise 1 says little of signals of deviation 0.3 at t = 1."""
    return torch.cat([torch.zeros(1, dtype=torch.float64), first * geometric((first / last) ** 0.5, steps - 1)])


@pytest.mark.parametrize("of_its_own", [False, True])
@pytest.mark.parametrize("name", BLIND)
def test_from_no_exposure_on_it_draws_what_the_operator_does_not_see(name, of_its_own, device):
    """y has two entries, or two of four; x given y has as wide a spread where A is blind as the prior leaves it."""
    prior, size = signal(N).to(device), 8000
    m = measured(BLIND[name](), prior, device, (0.1, 0.3) if of_its_own else (0.1,))
    many = m[torch.arange(size * len(m), device=device) % len(m)]
    on = go_on(prior.estimate, many, exposures(60), make_generator(device, 1), instrument=Camera(many))
    x = prior.estimate(on).reshape(size, len(m), N)
    for b in range(len(m)):
        check_law(x[:, b], prior.posterior(m[b : b + 1]), ALLOWANCE)


@pytest.mark.parametrize("name", BLIND)
def test_going_on_with_the_operator_itself_returns_the_mean_of_what_it_does_not_see(name, device):
    prior, size = signal(N).to(device), 8000
    m = measured(BLIND[name](), prior, device)
    x = posterior_samples(prior.estimate, m, make_generator(device, 1), samples=size, steps=60, batch=size)[:, 0]
    law = prior.posterior(m)
    left = prior.posterior(replace(m, noise=m.noise.scaled(0.05))).cov()
    assert float(left.trace()) > 0.5 * float(law.cov().trace())
    found = torch.cov(x.T)
    size_of = float(law.cov().diagonal().max())
    torch.testing.assert_close(found, law.cov() - left, atol=4 * (2 / size) ** 0.5 * size_of, rtol=0)
    assert float(found.trace()) < 0.5 * float(law.cov().trace())


@pytest.mark.parametrize("about", ["mean", "wrong"])
def test_from_a_first_exposure_on(about, device):
    """Where p(x | y) is narrow against t^(-1/2) it does not matter where x_t starts: the estimate, or something near
    it."""
    prior, size = signal(N).to(device), 8000
    m = repeated(measured(Matrix(WIDE), prior, device), size)
    start = prior.estimate(m) + (0.5 if about == "wrong" else 0.0)
    times = 1e-3 * karras((1e-3 / 1e6) ** 0.5, 60)
    on = go_on(prior.estimate, m, times, make_generator(device, 1), instrument=Camera(m, start))
    check_law(prior.estimate(on), prior.posterior(m[:1]), ALLOWANCE)


def test_a_mixture(device):
    """Three modes, seen along one direction: the odds of the modes given y, and each one's law."""
    prior, size = bimodal().to(device), 4000
    a = torch.tensor([[[0.5, -0.7]]], dtype=torch.float64)
    m = measured(Matrix(a), prior, device, (0.05,))
    exact = prior.posterior(m)
    assert float(exact.weights.sort()[0][1]) > 0.1, "at least two modes must be in play"
    many = repeated(m, size)
    on = go_on(prior.estimate, many, exposures(60), make_generator(device, 1), instrument=Camera(many))
    x, exact = prior.estimate(on).cpu(), exact.to("cpu")
    for i in range(2):
        assert kstest(x[:, i].numpy(), exact.marginal_cdf(i)).pvalue > 1e-3


def test_with_the_identity_both_instruments_draw_one_law(device):
    """B = A = I in other units: a camera from t = 0 on, and y itself going on."""
    prior, size = bimodal().to(device), 4000
    m = noisy(torch.tensor([[0.45, 0.5]], dtype=torch.float64, device=device), 0.1)
    many = repeated(m, size)
    on = go_on(prior.estimate, many, exposures(60), make_generator(device, 1), instrument=Camera(many))
    x, exact = prior.estimate(on).cpu(), prior.posterior(m).to("cpu")
    for i in range(2):
        assert kstest(x[:, i].numpy(), exact.marginal_cdf(i)).pvalue > 1e-3


def on_a_grid(prior, m):
    """E[x | y, x_t] of one Gamma intensity, y counts and x_t with Gaussian noise: Bayes' rule summed on a grid."""
    y, scaled = (part[:, 0] for part in m.operator.parts(m.y))
    gain, root = float(m.noise.first.gain), m.operator.root
    a, b = float(prior.shapes + y[0] / gain), float(prior.rates + 1 / gain)
    # all counts are the same: the grid are the quantiles of x given y
    x = torch.from_numpy(gamma.ppf((np.arange(400) + 0.5) / 400, a, scale=1 / b)).to(m.y)
    weight = (-0.5 * (scaled[:, None] - root[:, None] * x) ** 2).softmax(1)
    return (weight * x).sum(1, keepdim=True)


def test_counts_first_and_then_a_camera(device):
    """Each instrument has noise of its own kind."""
    prior, size = one_gamma(2.0, 0.5).to(device), 3000
    m = Measurement(torch.full((1, 1), 4.0, dtype=torch.float64, device=device), Identity(), Poisson(1.0))
    many = repeated(m, size)
    times = exposures(40, 0.01, 100.0)
    f = lambda m: on_a_grid(prior, m)  # noqa: E731
    on = go_on(f, many, times, make_generator(device, 1), instrument=Camera(many))
    assert kstest(on.operator.parts(on.y)[1][:, 0].cpu().numpy() / 10, prior.posterior(m).to("cpu").cdf).pvalue > 1e-3


def test_too_little_noise_is_rejected(device, monkeypatch):
    prior, size = gaussian([0.5], [[0.09]]).to(device), 8000
    m = measured(Matrix(torch.ones(1, 1, 1, dtype=torch.float64)), prior, device, (0.3,))
    many = repeated(m, size)
    draw = torch.randn
    monkeypatch.setattr("unveil.noise.gaussian.normal", lambda like, g: 0.9 * draw(like.shape, generator=g).to(like))
    on = go_on(prior.estimate, many, exposures(60), make_generator("cpu", 1), instrument=Camera(many))
    with pytest.raises(AssertionError):
        check_law(prior.estimate(on), prior.posterior(m), ALLOWANCE)


# --- what lies beside


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_known_can_be_sliced(count, device):
    """Operators, levels and exposures of their own, or common ones."""
    a = torch.rand(count, 2, N, dtype=torch.float64, device=device)
    m = Measurement(torch.rand(3, 2, dtype=torch.float64, device=device), Matrix(a), Gaussian(0.1))
    t = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, device=device)
    x_t = torch.rand(3, N, dtype=torch.float64, device=device)
    rows = torch.tensor([2, 0], device=device)
    part, alone = Camera(m).known(x_t, t)[rows], Camera(m[rows]).known(x_t[rows], t[rows])
    assert torch.equal(part.y, alone.y)
    assert torch.equal(part.noise.variance(part.y), alone.noise.variance(alone.y))
    x = torch.rand(2, N, dtype=torch.float64, device=device)
    assert torch.equal(part.predict(x), alone.predict(x))
    for found, put in zip(part.operator.parts(part.y), (m.y[rows], t[rows, None].sqrt() * x_t[rows])):
        torch.testing.assert_close(found, put)
    part.operator.check_adjoint(part.y, make_generator(device, 0))


def test_at_no_exposure_a_camera_says_nothing(device, dtype):
    """x_t is zeros at root 0, whatever x_t: the measurement's law is that of y alone."""
    prior = signal(N).to(device)
    m = measured(Matrix(WIDE), prior, device)
    m = Measurement(m.y.to(dtype), Matrix(WIDE.to(dtype).to(device)), Gaussian(0.1))
    zero = torch.zeros(1, dtype=dtype, device=device)
    camera = Camera(m)
    known = camera.known(camera.start(zero, make_generator(device, 0)), zero)
    assert isinstance(known.operator, Beside)
    assert known.y.dtype == dtype
    torch.testing.assert_close(prior.estimate(known), prior.estimate(m))


# --- the probability flow


def test_the_flow_is_of_second_order_and_a_function_of_its_start(device):
    """Of a Gaussian x_t - E[x | y] is stretched by ((c + s'^2) / (c + s^2))^(1/2), s = t^(-1/2), exactly: no noise is
    added on the way."""
    c, mean = 0.09, 0.3
    prior = gaussian([mean], [[c]]).to(device)
    m = Measurement(torch.zeros(5, 1, dtype=torch.float64, device=device), Identity(), Gaussian(1e6))
    camera, steps, errors = Camera(m, torch.full_like(m.y, mean)), [20, 40, 80, 160], []
    first, last = 1.0, 1e4
    start = camera.start(torch.full((5,), first).to(m.y), make_generator(device, 3)) - mean
    exact = ((c + 1 / last) / (c + 1 / first)) ** 0.5 * start
    for n in steps:
        times = first * karras((first / last) ** 0.5, n + 1)
        on = go_on(prior.estimate, m, times, make_generator(device, 3), instrument=camera, flow=True)
        errors.append(float((on.operator.parts(on.y)[1] / last**0.5 - mean - exact).abs().max()))
    assert -np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2, abs=0.25), errors


@pytest.mark.parametrize("name", BLIND)
def test_the_flow_draws_from_the_posterior(name, device):
    """25 evaluations, from levels far above the deviations on: of a variance c the start takes the share c / (c + s^2),
    1% here."""
    prior, size = signal(N).to(device), 8000
    m = measured(BLIND[name](), prior, device)
    many = repeated(m, size)
    times = exposures(25, first=0.01)
    on = go_on(prior.estimate, many, times, make_generator(device, 1), instrument=Camera(many), flow=True)
    check_law(prior.estimate(on), prior.posterior(m), 0.03)


def test_flows_that_are_refused(device):
    m = noisy(torch.zeros(2, 3, device=device), 0.1)
    for change in ({}, {"instrument": Camera(m), "inflation": 0.1}):
        with pytest.raises(UnveilError, match="flow is for an instrument that begins with noise of its own"):
            go_on(lambda m: m.y, m, karras(0.1, 3), make_generator(device, 0), flow=True, **change)
