"""Noise learned along with the network: its saddle in closed form for affine estimators, and wrong variants of it."""

import pytest
import torch
from torch.nn.functional import conv2d

from small import refused
from unveil.losses import Stein, Unsure
from unveil.losses.multipliers import MOST, Multipliers
from unveil.measurement import Measurement
from unveil.noise import NOISES, Correlated, Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.noise.beside import Beside
from unveil.noise.kernel import autocovariance
from unveil.operators import Identity
from unveil.random import make_generator, uniform

SIDE, OFFSET = 64, 3.0
MEANS, DEVIATIONS = torch.tensor([1.0, 2.0, 4.0, 8.0]) + OFFSET, torch.tensor([0.2, 0.5, 0.3, 1.0])
"""Of u, uniform, in the four quarters of an image."""


class Affine(torch.nn.Module):
    """f(y) = a (y - mean) + b, of each quarter of an image its own; gradients in units of their loss' curvature."""

    def __init__(self, variance):
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(torch.zeros(1, 1, len(MEANS), 1)) for _ in range(2))
        self.a.register_hook(lambda g: g / (2 * variance.reshape(1, 1, -1, 1) / len(MEANS)))
        self.b.register_hook(lambda g: g / (2 / len(MEANS)))

    def forward(self, m):
        y = m.y.reshape(len(m), 1, len(MEANS), -1)
        return (self.a * (y - MEANS.reshape(1, 1, -1, 1)) + self.b).reshape(m.y.shape)


def clean(generator):
    u = uniform(torch.empty(4, 1, len(MEANS), SIDE), -(3**0.5), 3**0.5, generator)
    return MEANS.reshape(1, 1, -1, 1) + DEVIATIONS.reshape(1, 1, -1, 1) * u


def saddle(parts, variance):
    """The multipliers of parts (quarters, k) of the variance: sum a_i parts_i = 0, a_i = 1 - parts_i eta / var_i."""
    return torch.linalg.solve(parts.T @ (parts / variance[:, None]), parts.sum(0))


# the true noise, the parts of its mean variance in each quarter by multiplier, the variance of y, and its parameters
ONES = torch.ones(4)
SQUARES = DEVIATIONS**2 + MEANS**2
CASES = {
    "gaussian": (Gaussian(0.4), ONES[:, None], DEVIATIONS**2 + 0.16, lambda eta: {"sigma": eta**0.5}),
    "poisson": (Poisson(0.1), MEANS[:, None], DEVIATIONS**2 + 0.1 * MEANS, lambda eta: {"gain": eta}),
    "poisson-gaussian": (
        PoissonGaussian(0.1, 0.7, OFFSET), torch.stack([MEANS - OFFSET, ONES], 1),
        DEVIATIONS**2 + 0.1 * (MEANS - OFFSET) + 0.49, lambda eta: {"gain": eta[0], "read": eta[1] ** 0.5},
    ),
    "gamma": (
        Gamma(40.0), 1.025 * SQUARES[:, None], 1.025 * SQUARES - MEANS**2, lambda eta: {"looks": 1 / eta - 1},
    ),
}  # fmt: skip


class Half(Stein):
    """Without the factor 2 of its correlation."""

    def __call__(self, f, m, generator):
        return (super().__call__(f, m, generator) + m.mean_square(m.y - f(m))) / 2


class Falling(Unsure):
    """Its multipliers fall where they should rise."""

    def __call__(self, f, m, generator):
        value = super().__call__(f, m, generator)
        for log in self.multipliers.logs.values():
            log.grad = None if log.grad is None else -log.grad
        return value


def fit(loss, f, start, measure, steps=160, rate=0.5, momentum=0.0):
    """What is learned of the noise, in the mean over the last half of the steps."""
    optimizer, last = torch.optim.SGD(f.parameters(), lr=rate, momentum=momentum), []
    for step in range(steps):
        m = Measurement(measure(make_generator("cpu", step, 1)), Identity(), start)
        optimizer.zero_grad()
        loss(f, m, make_generator("cpu", step, 2)).mean().backward()
        optimizer.step()
        loss.multipliers.ascend()
        if step >= steps // 2:
            last.append({name: log.clone() for name, log in loss.multipliers.values.items()})
    return start.learned({name: torch.stack([one[name] for one in last]).mean(0) for name in last[0]})


def learned(name, make=lambda: Unsure(Stein(), rate=3e-3), steps=160):
    """The parameters that are learned, and those of the saddle, from others that are too large and too small."""
    true, parts, variance, parameters = CASES[name]
    expected = parameters(saddle(parts, variance))
    wrong = {key: torch.tensor(factor).log() for key, factor in zip(true.unknown, (1.5, 0.7))}
    loss = make()
    noise = fit(loss, Affine(variance), true.learned(wrong), lambda g: true.sample(clean(g), g), steps)
    return {key: float(getattr(noise, key)) for key in expected}, {key: float(value) for key, value in expected.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_saddle_of_affine_estimators_is_the_one_known(name):
    found, expected = learned(name)
    assert found == pytest.approx(expected, rel=0.03)


def test_of_gaussian_noise_it_is_the_inverse_of_the_score_and_so_a_bound():
    """1 / mean(1 / (S + sigma^2)), and sigma^2 / (1 - e / sigma^2), e = mean S sigma^2 / (S + sigma^2)."""
    _, parts, y, _ = CASES["gaussian"]
    eta, error = float(saddle(parts, y)), DEVIATIONS**2 * 0.16 / y
    assert eta == pytest.approx(float(1 / (1 / y).mean()), rel=1e-5)
    assert eta == pytest.approx(float(0.16 / (1 - error.mean() / 0.16)), rel=1e-5)
    assert eta > 1.3 * 0.16


@pytest.mark.parametrize(
    "wrong", [lambda: Unsure(Half(), rate=3e-3), lambda: Falling(Stein(), rate=3e-3)], ids=["half", "falling"]
)
def test_a_missing_factor_and_a_wrong_sign_end_elsewhere(wrong):
    found, expected = learned("gaussian", wrong, 80)
    assert abs(found["sigma"] / expected["sigma"] - 1) > 0.3


class Filter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.taps = torch.nn.Parameter(torch.zeros(1, 1, 5, 5))

    def forward(self, m):
        return conv2d(m.y, self.taps, padding=2)


def test_of_noise_alone_the_kernel_is_learned_from_white():
    """No signal, so that the bound is attained."""
    true = Correlated(0.4, torch.tensor([[0.0, 0.1, 0.05], [0.2, 1.0, 0.2], [0.05, 0.1, 0.0]]))
    u = torch.zeros(4, 1, 32, 32)
    noise = fit(Unsure(Stein(), rate=3e-3), Filter(), Correlated(0.3), lambda z: true.sample(u, z), rate=1.0)
    r, expected = (n.sigma**2 * autocovariance(n.kernel).squeeze() for n in (noise, true))
    torch.testing.assert_close(r, expected, atol=0.03 * 0.16, rtol=0)


# --- the multipliers


def steady(momentum, gradients, rate=0.01):
    multipliers, path = Multipliers({"sigma": ()}, rate, momentum), []
    for gradient in gradients:
        multipliers.logs["sigma"].grad = torch.tensor(gradient)
        multipliers.ascend()
        path.append(float(multipliers.values["sigma"]))
    return path


def test_momentum_changes_the_iterates_as_it_should():
    """A steady gradient is followed faster, by sum_k (1 - mu^k) / (1 - mu); and after it ends, by mu^k further."""
    plain, fast = (steady(momentum, [1.0] * 8 + [0.0] * 50) for momentum in (0.0, 0.9))
    for n in range(1, 9):
        assert plain[n - 1] == pytest.approx(0.01 * n, rel=1e-5)
        assert fast[n - 1] == pytest.approx(0.01 * sum((1 - 0.9**k) / 0.1 for k in range(1, n + 1)), rel=1e-5)
    assert plain[-1] == pytest.approx(plain[7])
    velocity = (1 - 0.9**8) / 0.1
    assert fast[-1] - fast[7] == pytest.approx(0.01 * velocity * sum(0.9**k for k in range(1, 51)), rel=1e-5)


def test_multipliers_are_bounded_and_come_back():
    path = steady(0.9, [-1e9, -1e9, 1.0], rate=1.0)
    assert path == pytest.approx([-MOST, -MOST, 1 - MOST])


@pytest.mark.parametrize(("rate", "momentum"), [(0.0, 0.5), (1.0, 1.0), (1.0, -0.1)])
def test_rates_that_are_none_are_refused(rate, momentum):
    assert "must be > 0" in refused(Multipliers, {"sigma": ()}, rate, momentum)


def test_noise_of_which_nothing_is_learned_is_refused():
    m = Measurement(torch.rand(2, 4), Identity(), Beside(Gaussian(0.1), Gaussian(0.2), 2))
    assert "Beside noise nothing is learned" in refused(Unsure(Stein()), lambda m: m.y, m, make_generator("cpu", 0))


# --- what families say of themselves


@pytest.mark.parametrize("name", NOISES)
def test_learning_starts_at_the_noise_itself(name):
    noise = SOME[name]
    multipliers = Unsure(Stein()).multipliers.values
    y = noise.sample(torch.rand(2, 1, 6, 5, generator=make_generator("cpu", 1)), make_generator("cpu", 2))
    same, z = noise.learned(multipliers), torch.randn(y.shape, generator=make_generator("cpu", 3))
    torch.testing.assert_close(same.spread(y, z), noise.spread(y, z))


SOME = {
    "gaussian": Gaussian(torch.tensor([0.1, 0.3])), "poisson": Poisson(0.1), "gamma": Gamma(4.0),
    "poisson-gaussian": PoissonGaussian(torch.full((6, 5), 0.1), 0.2, 0.3),
    "correlated": Correlated(torch.tensor([0.1, 0.3]), torch.ones(2, 3, 3), 0.2, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", ["gaussian", "poisson", "poisson-gaussian", "gamma"])
def test_the_direction_is_that_of_steins_identity(name):
    """Of white noise to the last digit: the same probe, weighed by the variance afterwards."""
    noise = SOME[name]
    y = noise.sample(torch.rand(2, 1, 6, 5, generator=make_generator("cpu", 1)).double(), make_generator("cpu", 2))
    mean = Identity().mean
    e, z = noise.direction(y, mean, make_generator("cpu", 3))
    found = mean(noise.spread(y, z) * (torch.sin(y + e) - torch.sin(y)))
    torch.testing.assert_close(found, noise.stein(torch.sin, y, torch.sin(y), mean, make_generator("cpu", 3)))


def test_the_covariance_is_that_of_the_noise():
    covariance = torch.tensor([[1.0, 0.3], [0.3, 0.5]])
    g = torch.rand(3, 2, generator=make_generator("cpu", 4))
    noise, z = Correlated(0.4, g, 0.2, 0.1, covariance), torch.randn(3, 2, 5, 4, generator=make_generator("cpu", 5))
    dense = 0.16 * torch.kron(covariance / 0.75, noise.correlation(5, 4).float())
    torch.testing.assert_close(noise.spread(z, z).flatten(1), z.flatten(1) @ dense, atol=1e-5, rtol=1e-4)


def test_of_correlated_noise_the_probe_has_the_mean_of_steins_identity():
    """tr(C J) of a linear h, of the exact matrices."""
    noise = Correlated(0.4, torch.rand(3, 3, generator=make_generator("cpu", 9)).double(), 0.2, 0.1)
    taps = torch.randn(1, 1, 3, 3, generator=make_generator("cpu", 2)).double()
    y = torch.zeros(20000, 1, 4, 5).double()
    e, z = noise.direction(y, Identity().mean, make_generator("cpu", 6))
    found = Identity().mean(noise.spread(y, z) * conv2d(e, taps, padding=1))
    j = conv2d(torch.eye(20).double().reshape(20, 1, 4, 5), taps, padding=1).flatten(1)
    exact = 0.16 * float((noise.correlation(4, 5) * j).sum()) / 20
    error = float(found.std()) / len(y) ** 0.5
    assert abs(float(found.mean()) - exact) < 4 * error < 0.2 * abs(exact)
