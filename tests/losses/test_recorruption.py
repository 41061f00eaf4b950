"""`Recorruption` is R2R, ambient Tweedie and generalized R2R: per sample, with the same draws. And its weights."""

import pytest
import torch
from loss_statistics import Recorder, draw, estimator, make_case, mean_over, nonlinear

from unveil.errors import UnveilError
from unveil.losses import LogUniform, Recorruption, inverse_gradient_variance, inverse_target_variance
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.random import make_generator, normal, uniform
from unveil.shapes import expand

RATIOS = [(1.2, 1.2), (1.1, 3.0)]
"""Ends of the law of s / sigma: one ratio for all, or one for each sample."""


def drawn(law, like, device):
    """(the ratios s / sigma that a loss draws first, the generator after that draw)."""
    generator = make_generator(device, 8)
    low, high = torch.tensor(law, dtype=torch.float64).log().tolist()
    return uniform(like, low, high, generator).exp(), generator


def r2r(f, y, sigma, operator, ratio, generator):
    """|y_2 - A f(y_1)|^2 / m less the variance of y_2; y_1 = y + a n, y_2 = y - n / a, n as the noise (Pang et al.

    2021).
    """
    a = (ratio**2 - 1).sqrt()
    n = expand(sigma, y) * normal(y, generator)
    y_1, y_2 = y + expand(a, y) * n, y - n / expand(a, y)
    x_hat = f(Measurement(y_1, operator, Gaussian(sigma * (1 + a**2).sqrt())))
    return mean_over(operator, (y_2 - operator.A(x_hat)).square()) - sigma**2 * (1 + a**-2)


def ambient_tweedie(f, y, sigma, operator, ratio, generator):
    """|alpha A f(y_s) + (1 - alpha) y_s - y|^2 / m at the level s, alpha = 1 - sigma^2 / s^2 (Daras et al. 2024), as an
    estimate of the error of A f: less its variance, sigma^2 alpha, and over alpha^2."""
    s = ratio * sigma
    y_s = y + expand((s**2 - sigma**2).sqrt(), y) * normal(y, generator)
    alpha = 1 - sigma**2 / s**2
    x_hat = f(Measurement(y_s, operator, Gaussian(s)))
    predicted = expand(alpha, y) * operator.A(x_hat) + (1 - expand(alpha, y)) * operator.project(y_s)
    return (mean_over(operator, (predicted - y).square()) - sigma**2 * alpha) / alpha**2


def generalized_r2r(f, y, gain, operator, ratio, generator):
    """|y_2 - A f(y_1)|^2 / m less the variance of y_2; omega ~ Binomial(y / gain, alpha), y_1 = (y - gain omega) / (1 -
    alpha),
    y_2 = (y - (1 - alpha) y_1) / alpha (Monroy et al. 2025)."""
    g, alpha = expand(gain, y), 1 - expand(ratio**-2, y)
    torch.rand(
        y.shape, generator=generator, dtype=y.dtype, device=y.device
    )  # decides how a count between two is rounded
    k = (y / g).round()
    omega = k - torch.binomial(k, (1 - alpha).expand_as(k), generator)
    y_1 = (y - g * omega) / (1 - alpha)
    y_2 = (y - (1 - alpha) * y_1) / alpha
    x_hat = f(Measurement(y_1, operator, Poisson(gain * ratio**2)))
    return mean_over(operator, (y_2 - operator.A(x_hat)).square() - g / alpha * y_2)


PAPERS = {"r2r": r2r, "ambient tweedie": ambient_tweedie, "generalized r2r": generalized_r2r}


@pytest.mark.parametrize("law", RATIOS)
@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("operator", ["identity", "masked binning", "coils"])
def test_it_is_the_loss_of_the_paper(operator, paper, law, device):
    counts = paper == "generalized r2r"
    if counts and operator == "coils":
        operator = "blur"  # there are no counts of complex numbers
    case = make_case(operator, device, torch.float64, "poisson" if counts else "gaussian")
    case.junk = 0.0
    m, f = draw(case), estimator(nonlinear)
    parameter = case.noise.gain if counts else case.noise.sigma
    ratio, generator = drawn(law, m.level, device)
    torch.testing.assert_close(
        Recorruption(LogUniform(*law))(f, m, make_generator(device, 8)),
        PAPERS[paper](f, m.y, parameter, case.operator, ratio, generator),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("operator", ["identity", "mask"])
def test_the_weight_multiplies(operator, power, family, device, dtype):
    """(1 - t)^power / (s^2 + u^2), of the level s that f is told and the u of the operator."""
    weight = {1: inverse_gradient_variance, 2: inverse_target_variance}[power]
    case = make_case(operator, device, dtype, family)
    m, f = draw(case), Recorder(estimator(nonlinear))
    plain = Recorruption()(f, m, make_generator(device, 1))
    weighted = Recorruption(weight=weight)(f, m, make_generator(device, 1))
    parameter = "sigma" if family == "gaussian" else "gain"
    told, own = getattr(f.first.noise, parameter), getattr(m.noise, parameter)
    t = (own / told) ** (2 if family == "gaussian" else 1)
    unseen = 0.0 if operator == "identity" else 0.05
    torch.testing.assert_close(
        weighted, plain * (1 - t) ** power / (f.first.level**2 + unseen**2), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_the_target_has_the_stated_variance(family, device):
    """At the true f the square of the residual has the mean var(y) / (1 - t)."""
    case = make_case("identity", device, torch.float64, family)
    loss, m, t = Recorruption(LogUniform(1.5, 1.5)), draw(case), 1.5**-2
    _, rest = m.recorrupt(torch.full_like(m.level, t), make_generator(device, 1))
    variance = case.noise.variance(case.clean) / (1 - t)
    torch.testing.assert_close(rest.noise.variance(case.clean), variance)
    z = (rest.y - case.clean) / variance.sqrt()
    kurtosis = 3 + case.noise.exposed(1 - t).variance(torch.ones_like(z)) / case.clean * (family == "poisson")
    assert abs(z.square().mean() - 1) < 4 * ((kurtosis - 1).mean() / z.numel()) ** 0.5
    value = loss(lambda view: case.x, m, make_generator(device, 1))
    assert abs((value / variance.flatten(1).mean(1)).mean()) < 4 * ((kurtosis - 1).mean() / z.numel()) ** 0.5


@pytest.mark.parametrize("low", [1.0, 0.5])
def test_a_ratio_that_leaves_nothing_to_judge_by_is_refused(low):
    with pytest.raises(UnveilError, match="ratio") as caught:
        Recorruption(LogUniform(low, 3.0))
    assert "\n" not in str(caught.value)


def test_a_law_that_reaches_one_is_refused_when_it_does(device, dtype):
    """A law of its own says its ends to nobody: the exposure of the rest does."""
    m = draw(make_case("identity", device, dtype))
    for ratio in (1.0, 0.8):
        with pytest.raises(UnveilError):
            Recorruption(lambda sigma, generator, ratio=ratio: torch.full_like(sigma, ratio))(
                estimator(nonlinear), m, make_generator(device, 1)
            )
