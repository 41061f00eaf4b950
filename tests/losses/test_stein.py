"""The divergence that Stein's estimate needs: Monte Carlo against the exact trace; and how far it errs for counts."""

import math
from itertools import pairwise

import pytest
import torch
from loss_statistics import ESTIMATORS, FAMILIES, Biased, check_zero, draw, estimator, make_case, mean_over
from scipy import stats
from torch.nn.functional import avg_pool2d

import unveil.noise.gamma
from unveil.losses import Stein
from unveil.measurement import Measurement
from unveil.noise import NOISES, Correlated, Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator


def whole(v):
    return v.flatten(1).mean(1)


# --- against the trace


def exact_trace(case, f, m):
    """(B,): mean over measured entries of v_i dh_i / dy_i, h = A f, v = variance(y), from the Jacobian, column by
    column."""
    rows = []
    for i in range(len(m)):
        one = m[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda y, one=one: one.predict(f(one.at(y))).flatten(), one.y)
        v = one.noise.variance(one.y)
        rows.append(mean_over(one.operator, v * jacobian.reshape(v.numel(), -1).diagonal().reshape(v.shape)))
    return torch.cat(rows)


@pytest.mark.parametrize("g", ESTIMATORS)
@pytest.mark.parametrize(
    ("family", "operator"),
    [
        ("gaussian", "identity"),
        ("gaussian", "masks per sample"),
        ("gaussian", "masked binning"),
        ("gaussian", "coils"),
        ("poisson", "identity"),
        ("poisson", "masks per sample"),
        ("poisson", "masked binning"),
        ("poisson", "blur"),
    ],
)
def test_monte_carlo_has_the_mean_of_the_exact(family, operator, g, device):
    case = make_case(operator, device, torch.float64, family, height=2, width=4, batch=6)
    f, m = estimator(ESTIMATORS[g]), draw(case)
    exact = exact_trace(case, f, m)
    assert (exact / case.scale).abs().min() > 0.05, "a divergence near zero would test nothing"

    def h(y):
        return m.predict(f(m.at(y)))

    with torch.no_grad():
        estimates = [
            m.noise.stein(h, m.y, h(m.y), m.operator.mean, make_generator(device, 1, r), step=1e-3) for r in range(250)
        ]
    check_zero((torch.stack(estimates) - exact) / case.scale, "divergence", sensitivity=0.05)


def test_the_error_is_of_the_order_of_the_step_squared(device):
    """Of y^3 the mean is sigma^2 (3 y^2 + s^2): at s = step sigma the error is sigma^2 s^2 to the last digit of its
    mean."""
    y, sigma = 0.5 * torch.ones(20000, 16, device=device, dtype=torch.float64), 2.0
    noise = Gaussian(torch.full((20000,), sigma, device=device, dtype=torch.float64))
    for step in (0.25, 0.5, 1.0):
        value = noise.stein(lambda y: y**3, y, y**3, whole, make_generator(device, 1), step) / sigma**2
        error, s = value - 0.75, step * sigma
        assert abs(error.mean() - s**2) < 4 * error.std() / 20000**0.5
        assert error.std() / 20000**0.5 < s**2 / 40


@pytest.mark.parametrize("name", NOISES)
def test_the_step_follows_the_noise(name, device):
    """In levels, of each sample: c times the data, with the noise of that, give c^2 times the estimate."""
    parameter = torch.linspace(0.5, 4, 8, device=device, dtype=torch.float64)
    noise, c = FAMILIES[name](parameter), 1e4
    y = noise.sample(torch.rand(8, 1, 4, 4, device=device, dtype=torch.float64), make_generator(device, 2))
    value = noise.stein(torch.sin, y, torch.sin(y), whole, make_generator(device, 1))
    scaled = noise.scaled(c).stein(
        lambda y: c * torch.sin(y / c), c * y, c * torch.sin(y), whole, make_generator(device, 1)
    )
    torch.testing.assert_close(scaled, c**2 * value, rtol=1e-9, atol=0)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_the_probe_moves_measured_entries_alone(family, device, dtype):
    """Moving the others too would keep the mean and only add variance."""
    case = make_case("mask", device, dtype, family)
    inputs, m = [], draw(case)

    def f(m):
        inputs.append(m.y)
        return m.y

    Stein()(f, m, make_generator(device, 1))
    assert len(inputs) == 2
    moves = case.operator.measured & (m.y != 0) if family == "poisson" else case.operator.measured.expand_as(m.y)
    assert torch.equal(inputs[1] != inputs[0], moves), "an entry without a photon has none to lose"
    assert torch.equal(inputs[0], m.y)


def test_the_count_is_that_of_measured_entries(device, dtype):
    """Of f = 0 the loss of y is |y|^2 / m - sigma^2: with n for m it is off by sigma^2 (1 - m / n)."""
    case = make_case("masks per sample", device, dtype)
    m = draw(case)
    keep = case.operator.measured.expand_as(m.y)
    squares = torch.stack([a[k].square().mean() for a, k in zip(m.y, keep)])
    value = Stein()(lambda m: 0 * m.y, m, make_generator(device, 1))
    torch.testing.assert_close(value, squares - case.noise.sigma**2)


# --- counts, by a probe of the first order, as in training: exact for affine f alone. No Monte Carlo: sums over the
# Poisson law

COUNTS = [0.3, 1.0, 4.0, 30.0, 300.0]
"""Mean photons of one pixel."""


def bias(f, photons, gain, loss=None):
    """E loss - E |f(y) - u|^2 of one pixel, by the law of its count. f: y -> estimate.

    Both signs of the probe are averaged.
    """
    k = torch.arange(int(photons + 15 * photons**0.5 + 30), dtype=torch.float64)
    law = torch.from_numpy(stats.poisson.pmf(k.numpy(), photons))
    m = Measurement((gain * k)[:, None, None, None], Identity(), Poisson(torch.tensor(gain, dtype=torch.float64)))
    loss = loss or Stein(step=1e-4)
    value = torch.stack([loss(lambda m: f(m.y), m, make_generator("cpu", s)) for s in range(24)])
    error = (f(m.y) - gain * photons).square().flatten()
    return float((law * (value.mean(0) - error)).sum())


@pytest.mark.parametrize("photons", COUNTS)
def test_affine_estimators_of_counts_have_no_bias(photons):
    for gain in (1.0, 0.05):
        assert abs(bias(lambda y: 0.6 * y + 0.1, photons, gain)) < 1e-9 * gain**2 * photons + 1e-9


@pytest.mark.parametrize("photons", COUNTS)
def test_the_bias_of_curved_estimators_of_counts(photons):
    """Hudson's identity has h(y) - h(y - gain), and its first order gain h'(y): they differ by at most gain^2 K / 2
    where |h''| <= K,
    so the loss is off by at most gain^2 K u, and by just that where h'' = K everywhere. Relative to the variance, gain
    u, that is
    gain K: of shrinkage that bends on the scale of the noise, K ~ 1 / sigma, it falls as 1 / sigma in photons,
        photons^(-1/2)."""
    gain = 0.05
    u, sigma = gain * photons, gain * photons**0.5
    for curvature in (0.7, -0.4):
        expected = gain**2 * curvature * u
        assert bias(lambda y, c=curvature: 0.5 * c * y**2, photons, gain) == pytest.approx(expected, rel=1e-3)

    def shrink(y):  # towards u, less and less: h'' = -1.2 / s tanh sech^2
        s = 1.5 * sigma
        return y - 0.6 * s * torch.tanh((y - 0.5 * u) / s)

    most = 0.6 / (1.5 * sigma) * 4 / (3 * math.sqrt(3))  # of 2 tanh sech^2 the maximum is 4 / 3^(3/2)
    found = bias(shrink, photons, gain)
    assert abs(found) < gain**2 * most * u
    assert abs(found) < 0.31 * photons**-0.5 * gain * u, "in units of the variance"


def test_the_bias_of_counts_is_of_the_second_order_of_the_gain():
    """At one u, with an estimator that does not change: half the gain, a quarter of the bias."""
    biases = [abs(bias(torch.sin, 1 / gain, gain)) for gain in (0.2, 0.1, 0.05, 0.025)]
    for coarse, fine in pairwise(biases[1:]):
        assert coarse / fine == pytest.approx(4, rel=0.1)


def test_few_photons_show_the_bias_in_an_image_too(device, dtype):
    """Of the probe of first order alone: the check of unbiasedness sees it there, and nothing of the family's own."""
    case = make_case("identity", device, dtype, "poisson")
    case.noise = case.noise.scaled(6.0)  # 16 photons to 1

    def curved(z, sigma):
        return 0.5 * z + 0.3 * z * z

    def excess(loss):
        value = []
        for r in range(60):
            m, generator = case.measure(make_generator(device, r, 1)), make_generator(device, r)
            error = mean_over(m.operator, (estimator(curved)(m) - case.x) ** 2)
            value.append(loss(estimator(curved), m, generator) - error)
        return torch.stack(value).double()

    first = excess(Stein(step=0.01))
    expected = case.noise.gain**2 * 0.6 * mean_over(case.operator, case.clean)
    check_zero((first - expected) / case.scale, "loss less the known bias", sensitivity=0.05)
    with pytest.raises(Biased):
        check_zero(first / case.scale, "loss", sensitivity=0.05)
    check_zero(excess(Stein()) / case.scale, "loss by the family's own probe", sensitivity=0.1)


# --- the families' own probes: exact for h quadratic in each entry; quantiles of the law in place of draws

LOOKS = [1.0, 4.0, 30.0]
DOUBLE = {"dtype": torch.float64}


def quantiles(count):
    return (torch.arange(count, **DOUBLE) + 0.5) / count


def speckle(looks):
    """Noise, u, and y (1, N) by its law."""
    y = torch.from_numpy(stats.gamma.ppf(quantiles(20_000).numpy(), looks, scale=1 / looks))
    return Gamma(torch.tensor(looks, **DOUBLE)), 1.0, y[None]


def counted(photons, read=0.0, gain=0.5, offset=3.0):
    """Read noise in photons; y (1, N): each count that is likely, with each deviation that is."""
    k = torch.from_numpy(stats.poisson.ppf(quantiles(20_000 if not read else 400).numpy(), photons)) * gain
    if not read:
        return Poisson(torch.tensor(gain, **DOUBLE)), gain * photons, k[None]
    n = gain * read * torch.from_numpy(stats.norm.ppf(quantiles(60).numpy()))
    noise = PoissonGaussian(*(torch.tensor(value, **DOUBLE) for value in (gain, gain * read, offset)))
    return noise, gain * photons + offset, (offset + k[:, None] + n).reshape(1, -1)


LAWS = {
    **{f"{looks:g} looks": (speckle, (looks,)) for looks in LOOKS},
    **{f"{photons:g} photons": (counted, (photons,)) for photons in (0.5, 2.0, 10.0, 100.0)},
    **{
        f"{photons:g} photons, read noise {read:g}": (counted, (photons, read))
        for photons, read in ((0.5, 0.5), (2.0, 1.0), (2.0, 3.0), (10.0, 1.0))
    },
}
each_law = pytest.mark.parametrize("law", LAWS)


def identity_bias(h, law, step=None):
    """Return (estimate - E (y - u) h(y)) / var(y), its standard error, and E (y - u) h(y) / var(y), by law."""
    make, arguments = LAWS[law]
    noise, u, y = make(*arguments)
    variance = float((y - u).square().mean())
    found = torch.stack([noise.stein(h, y, h(y), whole, make_generator("cpu", 1, i), step) for i in range(80)])
    exact = float(((y - u) * h(y)).mean())
    found = (found.mean(1) - exact) / variance
    return float(found.mean()), float(found.std() / len(found) ** 0.5), exact / variance


@each_law
def test_quadratic_estimators_have_no_bias(law):
    make, arguments = LAWS[law]
    noise, u, _ = make(*arguments)
    s = float(noise.variance(torch.full((1, 1), u, **DOUBLE))) ** 0.5
    lost = 0.2 if law == "0.5 photons, read noise 0.5" else 0.01  # below the offset, where v < read^2
    for h in (lambda y: 0.6 * y + 0.1, lambda y: (y - u) ** 2 / s, lambda y: 0.8 * (y - u) + 0.3 * (y - u) ** 2 / s):
        bias, error, _ = identity_bias(h, law)
        assert error < 0.15
        assert abs(bias) < 4 * error + lost, "beside it the error of the quantiles"


@each_law
def test_a_probe_of_the_first_order_errs_for_curved_estimators(law):
    """By E[d v h''] / 2, that is skewness / 2 times s h'': where h = (y - u)^2 / s all of E[(y - u) h] / var(y)."""
    make, arguments = LAWS[law]
    noise, u, y = make(*arguments)
    s = float((y - u).square().mean()) ** 0.5

    def h(y):
        return (y - u) ** 2 / s

    first, _, exact = identity_bias(h, law, step=1e-4)
    own, error, _ = identity_bias(h, law)
    assert abs(own) + 4 * error < 0.6 * abs(first), "the family's own probe is nearer"
    slope = 2 * float((noise.estimated_variance(y) * (y - u)).mean()) / s**3
    assert first == pytest.approx(slope - exact, rel=0.05)


def bends(u, s):
    """Estimators that bend as sharply as any: between two values, a threshold, one that turns."""
    return (
        lambda y: s * torch.tanh((y - u) / s),
        lambda y: (y - u - s / 2).clamp_min(0),
        lambda y: u + 0.5 * s * torch.tanh(2 * (y - u) / s) + 0.3 * (y - u),
    )


@each_law
def test_the_bias_of_curved_estimators(law):
    """Near 2% of the variance."""
    make, arguments = LAWS[law]
    noise, u, _ = make(*arguments)
    s = float(noise.variance(torch.full((1, 1), u, **DOUBLE))) ** 0.5
    for h in bends(u, s):
        bias, error, _ = identity_bias(h, law)
        assert abs(bias) < 0.03 + 3 * error
        assert error < 0.15


def local(y):
    """Trust y the more, the more its neighbourhood varies: as trained networks do, and the local Wiener filter."""
    mean = avg_pool2d(y, 5, 1, 2, count_include_pad=False)
    variance = avg_pool2d(y**2, 5, 1, 2, count_include_pad=False) - mean**2
    return mean + torch.sigmoid(3 * (4 * variance / mean**2 - 1.5)) * (y - mean)


@pytest.mark.parametrize(("share", "least", "most"), [(unveil.noise.gamma.SHARE, -0.02, 0.02), (0.16, 0.04, 0.1)])
def test_a_probe_must_not_look_like_noise_to_estimators_of_the_neighbourhood(share, least, most, monkeypatch):
    """At r = .16, which is exact for cubics of speckle, all else is seen noisier than it is; 4 looks, in units of the
    variance."""
    monkeypatch.setattr("unveil.noise.gamma.SHARE", share)
    noise, rows = Gamma(torch.tensor(4.0, **DOUBLE)), []
    for r in range(12):
        y = noise.sample(torch.ones(16, 1, 40, 40, **DOUBLE), make_generator("cpu", r, 1))
        h_y = local(y)
        rows.append(noise.stein(local, y, h_y, whole, make_generator("cpu", r, 2)) - whole((y - 1) * h_y))
    bias, error = 4 * torch.cat(rows).mean(), 4 * torch.cat(rows).std() / 192**0.5
    assert error < 0.01
    assert least - 2 * error < bias < most + 2 * error


# --- correlated noise: the trace of its covariance with the derivative


@pytest.mark.parametrize("rows", [0.0, 0.3])
def test_the_trace_of_correlated_noise(rows):
    """E (y - u)^T J y = tr(C J), of a matrix J that mixes all entries of both channels."""
    kernel, shared = torch.tensor([[0.3, 1.0, 0.5]], **DOUBLE), torch.tensor([[1.0, 0.7], [0.7, 2.0]], **DOUBLE)
    noise = Correlated(torch.tensor(0.2, **DOUBLE), kernel, rows, 0.0, shared)
    lag = torch.tensor([0.0, 0.15 / 1.34, 0.8 / 1.34, 1.0, 0.8 / 1.34, 0.15 / 1.34, 0.0], **DOUBLE)
    along = torch.stack([lag[[max(0, min(6, i - j + 3)) for j in range(5)]] for i in range(5)])
    line = (1 - rows) * along + rows
    C = 0.04 * torch.kron(shared / 1.5, torch.kron(torch.eye(3, **DOUBLE), line))
    J = torch.randn(30, 30, generator=make_generator("cpu", 6), **DOUBLE)

    def h(y):
        return (y.flatten(1) @ J.T).reshape(y.shape)

    y = torch.zeros(20_000, 2, 3, 5, **DOUBLE)
    found = noise.stein(h, y, h(y), whole, make_generator("cpu", 7)) * 30
    assert abs(found.mean() - (C @ J).trace()) < 4 * found.std() / len(found) ** 0.5
    assert found.std() / len(found) ** 0.5 < 0.1 * (C @ J).trace().abs()
