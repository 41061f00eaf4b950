"""The divergence that Stein's estimate needs: Monte Carlo against the exact trace; and how far it errs for counts."""

import math
from itertools import pairwise

import pytest
import torch
from loss_statistics import ESTIMATORS, FAMILIES, Biased, check_zero, draw, estimator, make_case, mean_over
from scipy import stats
from torch.nn.functional import avg_pool2d

import unveil.noise.gamma
from unveil.errors import UnveilError
from unveil.losses import Stein
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gamma, Gaussian, Noise, Poisson
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
    assert torch.equal(inputs[1] != inputs[0], case.operator.measured.expand_as(m.y))
    assert torch.equal(inputs[0], m.y)


def test_the_count_is_that_of_measured_entries(device, dtype):
    """Of f = 0 the loss of y is |y|^2 / m - sigma^2: with n for m it is off by sigma^2 (1 - m / n)."""
    case = make_case("masks per sample", device, dtype)
    m = draw(case)
    keep = case.operator.measured.expand_as(m.y)
    squares = torch.stack([a[k].square().mean() for a, k in zip(m.y, keep)])
    value = Stein()(lambda m: 0 * m.y, m, make_generator(device, 1))
    torch.testing.assert_close(value, squares - case.noise.sigma**2)


# --- counts: exact for affine f, and otherwise to the first order of the gain. No Monte Carlo: sums over the Poisson
# law

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
    """The check of unbiasedness sees it, so that with many photons it would see a larger one."""
    case = make_case("identity", device, dtype, "poisson")
    case.noise = case.noise.scaled(6.0)  # 16 photons to 1

    def curved(z, sigma):
        return 0.5 * z + 0.3 * z * z

    value = [
        (
            Stein()(estimator(curved), m, make_generator(device, r))
            - mean_over(m.operator, (estimator(curved)(m) - case.x) ** 2)
        )
        for r in range(60)
        for m in [case.measure(make_generator(device, r, 1))]
    ]
    gain = case.noise.gain
    expected = gain**2 * 0.6 * mean_over(case.operator, case.clean)
    d = torch.stack(value).double()
    check_zero((d - expected) / case.scale, "loss less the known bias", sensitivity=0.05)
    with pytest.raises(Biased):
        check_zero(d / case.scale, "loss", sensitivity=0.05)


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan")])
def test_a_probe_of_no_length_is_refused(step):
    with pytest.raises(UnveilError, match="step must be > 0"):
        Stein(step)


# --- speckle: exact for h quadratic in each entry; quantiles of the law in place of draws

LOOKS = [0.5, 1.0, 4.0, 30.0]


def speckle_bias(h, looks, probe=None):
    """Return (estimate - E (y - u) h(y)) / var(y) at u = 1, its standard error, and E (y - u) h(y) / var(y).

    y by its law, the probe by chance.
    """
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    y = torch.from_numpy(stats.gamma.ppf(u.numpy(), looks, scale=1 / looks))[:, None]
    noise = Gamma(torch.tensor(looks, dtype=torch.float64))
    if probe is not None:
        object.__setattr__(noise, "_probe", lambda *arguments: probe(noise, *arguments))
    found = torch.stack([noise.stein(h, y, h(y), whole, make_generator("cpu", 1, i), step=1e-4) for i in range(40)])
    exact = looks * float(((y - 1) * h(y)).mean())
    found = found.mean(1) * looks - exact
    return float(found.mean()), float(found.std() / len(found) ** 0.5), exact


def posterior_mean(looks):
    """E[u | y] where u is .5 or 1.5, each give or take a fifth: bends as sharply as any."""
    shape, rate = 30 + looks, torch.tensor([14.5, 43.5], dtype=torch.float64)

    def h(y):
        rates = rate + looks * y
        return ((30 * rate.log() - shape * rates.log()).softmax(-1) * rates / (shape - 1)).sum(-1, keepdim=True)

    return h


@pytest.mark.parametrize("looks", LOOKS)
def test_quadratic_estimators_of_speckle_have_no_bias(looks):
    for h in (lambda y: 0.6 * y + 0.1, lambda y: y**2, lambda y: y + 0.4 * y**2):
        bias, error, exact = speckle_bias(h, looks)
        assert error < 0.08 * abs(exact)
        assert abs(bias) < 4 * error + 0.01 * abs(exact), "beside it the error of the quantiles"


@pytest.mark.parametrize("looks", LOOKS)
def test_the_bias_of_curved_estimators_of_speckle(looks):
    """Near 2% of the variance for a posterior mean; a short probe, of the first order, errs by much more."""
    bias, error, _ = speckle_bias(posterior_mean(looks), looks)
    assert abs(bias) + 4 * error < 0.05
    short, *_ = speckle_bias(lambda y: y**2, looks, Noise._probe)
    assert short == pytest.approx(2 / looks, rel=0.05), "E[y^3 h''] / ((L + 1) (L + 2)), over u^2 / L"


def local(y):
    """Trust y the more, the more its neighbourhood varies: as trained networks do, and the local Wiener filter."""
    mean = avg_pool2d(y, 5, 1, 2, count_include_pad=False)
    variance = avg_pool2d(y**2, 5, 1, 2, count_include_pad=False) - mean**2
    return mean + torch.sigmoid(3 * (4 * variance / mean**2 - 1.5)) * (y - mean)


@pytest.mark.parametrize(("share", "least", "most"), [(unveil.noise.gamma.SHARE, -0.02, 0.02), (0.16, 0.04, 0.1)])
def test_a_probe_must_not_look_like_noise_to_estimators_of_the_neighbourhood(share, least, most, monkeypatch):
    """At r = .16, which is exact for cubics, all else is seen noisier than it is; 4 looks, in units of the variance."""
    monkeypatch.setattr("unveil.noise.gamma.SHARE", share)
    noise, rows = Gamma(torch.tensor(4.0, dtype=torch.float64)), []
    for r in range(12):
        y = noise.sample(torch.ones(16, 1, 40, 40, dtype=torch.float64), make_generator("cpu", r, 1))
        h_y = local(y)
        rows.append(noise.stein(local, y, h_y, whole, make_generator("cpu", r, 2)) - whole((y - 1) * h_y))
    bias, error = 4 * torch.cat(rows).mean(), 4 * torch.cat(rows).std() / 192**0.5
    assert error < 0.01
    assert least - 2 * error < bias < most + 2 * error
