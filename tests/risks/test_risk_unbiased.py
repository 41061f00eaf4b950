"""Every base risk has the mean of the supervised risk, and the check that says so rejects wrong ones."""

import pytest
import torch
from risk_statistics import (
    BASE,
    ESTIMATORS,
    PROBLEMS,
    RISKS,
    Biased,
    Recorder,
    check_unbiased,
    check_zero,
    draw,
    make_case,
    mean_square,
    nonlinear,
)

from unveil.noise import Gaussian
from unveil.random import make_generator, normal
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    ExactDivergence,
    LogUniform,
    MonteCarloDivergence,
    Risk,
    inverse_target_variance,
)
from unveil.shapes import expand


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", BASE)
def test_unbiased(name, problem, estimator, device, dtype):
    case = make_case(problem, device, dtype)
    sensitivity = 0.04 if "quarter" in name else 0.03
    check_unbiased(BASE[name](case.problem, case.x), case, ESTIMATORS[estimator], repeats=40, sensitivity=sensitivity)


@pytest.mark.parametrize("problem", ["masks per sample", "masked pooling"])
def test_unbiased_with_the_exact_divergence(problem, device, dtype):
    case = make_case(problem, device, dtype, channels=1, height=1, width=16, batch=16)
    risk = RISKS["sure, exact"](case.problem, case.x)
    check_unbiased(risk, case, nonlinear, repeats=150, sensitivity=0.04)


# --- power: each of these is wrong in one place


class Wrong(Risk):
    """SURE and R2R rewritten in entries, the way that mistakes are made in."""

    def __init__(self, mistake, problem):
        super().__init__(problem)
        self.mistake = mistake


class WrongSURE(Wrong):
    def __call__(self, f, y, sigma, generator):
        p, mistake = self.problem, self.mistake
        step = expand(sigma, y) * 0.01
        w = p.project(torch.sign(normal(y, generator)))
        y_hat = p.predict(f(y, sigma))
        moved = p.predict(f(y + (sigma * 0.01 if mistake == "columns probed" else step) * w, sigma))
        divergence = w * (moved - y_hat) / (0.01 if mistake == "step in units of sigma" else step)
        factor = {"sign": -2.0, "factor 2": 1.0}.get(mistake, 2.0)
        variance = sigma**2 if mistake == "columns" else expand(sigma**2, y)
        penalty = factor * (expand(sigma, y) if mistake == "sigma for its square" else variance) * divergence
        if mistake == "no divergence":
            penalty = 0 * penalty
        offset = 0 if mistake == "no offset" else variance
        residual = (y if mistake == "unmeasured residual" else p.project(y)) - y_hat
        entries = residual**2 + penalty - offset
        if mistake == "unmeasured offset":  # sums over all entries: off by sigma^2 (1 - m / n)
            return entries.flatten(1).mean(1) * y[0].numel() / p.count(y)
        if mistake == "unmeasured residual":
            return entries.flatten(1).mean(1)
        if mistake == "all entries counted":
            return p.project(entries).flatten(1).mean(1)
        return p.inner(entries, torch.ones_like(entries))


class WrongR2R(Wrong):
    a = 0.5

    def __call__(self, f, y, sigma, generator):
        p, mistake, a = self.problem, self.mistake, self.a
        w = (sigma if mistake == "columns" else expand(sigma, y)) * normal(y, generator)
        y_1 = p.project(y + a * w)
        y_2 = p.project(y - w * (a if mistake == "ratio" else 1 / a) * (-1 if mistake == "sign" else 1))
        told = {"level": sigma, "level's sum": sigma * (1 + a)}.get(mistake, sigma * (1 + a**2) ** 0.5)
        offset = {
            "inverse constant": sigma**2 * (1 + a**2),
            "constant of y": sigma**2,
            "constant without 1": sigma**2 / a**2,
            "no constant": 0 * sigma,
        }
        value = self.mean_square(y_2 - p.predict(f(y_1, told)))
        return value - offset.get(mistake, sigma**2 * (1 + 1 / a**2))


class WrongAmbient(Wrong):
    def __call__(self, f, y, sigma, generator):
        p, mistake = self.problem, self.mistake
        s = sigma * LogUniform(1.4, 3.0)(sigma, generator)
        added = {"added s": s, "added s - sigma": s - sigma}.get(mistake, (s**2 - sigma**2).sqrt())
        ratio = sigma**2 / s**2
        alpha = {"alpha swapped": ratio, "alpha of deviations": 1 - ratio.sqrt()}.get(mistake, 1 - ratio)
        y_s = self.corrupt(y, added, normal(y, generator))
        alpha_ = expand(alpha, y)
        predicted = alpha_ * p.predict(f(y_s, s)) + (1 - alpha_) * p.project(y_s)
        if mistake == "no mixing":
            predicted = p.predict(f(y_s, s))
        variance = {"variance of y": sigma**2, "no variance": 0 * s, "variance of y_s": s**2 * alpha}
        value = self.mean_square(predicted - p.project(y)) - variance.get(mistake, sigma**2 * alpha)
        return value if mistake == "no division" else value / alpha**2


MISTAKES = (
    [
        (WrongSURE, mistake)
        for mistake in (
            "sign",
            "factor 2",
            "no divergence",
            "no offset",
            "columns",
            "columns probed",
            "step in units of sigma",
            "sigma for its square",
            "unmeasured offset",
            "unmeasured residual",
            "all entries counted",
        )
    ]
    + [
        (WrongR2R, mistake)
        for mistake in (
            "columns",
            "ratio",
            "sign",
            "level",
            "level's sum",
            "inverse constant",
            "constant of y",
            "constant without 1",
            "no constant",
        )
    ]
    + [
        (WrongAmbient, mistake)
        for mistake in (
            "added s",
            "added s - sigma",
            "alpha swapped",
            "alpha of deviations",
            "no mixing",
            "variance of y",
            "no variance",
            "variance of y_s",
            "no division",
        )
    ]
)


@pytest.mark.parametrize("kind", [WrongSURE, WrongR2R, WrongAmbient])
def test_the_rewritten_risks_are_right_without_a_mistake(kind, device, dtype):
    case = make_case("mask", device, dtype)
    check_unbiased(kind(None, case.problem), case, nonlinear, repeats=40)


@pytest.mark.parametrize(("kind", "mistake"), MISTAKES, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_the_check_rejects(kind, mistake, device, dtype):
    case = make_case("mask", device, dtype)
    with pytest.raises(Biased):
        check_unbiased(kind(mistake, case.problem), case, nonlinear, repeats=40, sensitivity=1e9)


def test_the_check_sees_what_cancels_over_the_batch(device, dtype):
    """sigma^2 of a neighbour in the batch, weighted so that the normalised mean is right."""
    case = make_case("identity", device, dtype)

    class Cancelling(SURE):
        def __call__(self, f, y, sigma, generator):
            signs = torch.ones_like(sigma)
            signs[::2] = -1
            return super().__call__(f, y, sigma, generator) + 0.15 * signs * sigma**2

    with pytest.raises(Biased, match="scatter"):
        check_unbiased(Cancelling(), case, nonlinear, repeats=40)


# --- gradients


def theta_estimator(case, theta):
    def f(y, sigma):
        z = case.lift(y)
        s = expand(3 * sigma, z)
        return theta[0] * z + theta[1] * s * torch.tanh((z - z.roll(1, -1)) / s)

    return f


def gradient_differences(risk, case, repeats, key=4):
    """(R, 2): the gradient of mean(risk / s^2) less that of the supervised risk, at the estimator's input."""
    theta, rows = torch.tensor([0.7, 0.2], dtype=case.x.dtype, device=case.x.device, requires_grad=True), []
    for r in range(repeats):
        y = case.measure(make_generator(case.x.device, key, r, 1))
        f = Recorder(theta_estimator(case, theta))
        value = risk(f, y, case.sigma, make_generator(case.x.device, key, r, 2))
        y_in, s_in = f.first
        error = mean_square(case.problem, case.problem.predict(f.f(y_in, s_in)) - case.clean)
        rows.append(torch.autograd.grad(((value - error) / case.sigma**2).mean(), theta)[0])
    return torch.stack(rows).double()


def check_gradient(risk, case, repeats):
    d = gradient_differences(risk, case, repeats)
    for i in range(2):
        check_zero(d[:, i : i + 1], f"gradient {i}", sensitivity=0.15)


@pytest.mark.parametrize("problem", ["masks per sample", "pooling"])
@pytest.mark.parametrize("name", [name for name in BASE if name != "supervised"])
def test_the_gradient_is_unbiased(name, problem, device, dtype):
    case = make_case(problem, device, dtype)
    check_gradient(BASE[name](case.problem, case.x), case, repeats=40)


def test_the_gradient_is_unbiased_with_the_exact_divergence(device, dtype):
    case = make_case("mask", device, dtype, channels=1, height=1, width=16, batch=16)
    check_gradient(SURE(ExactDivergence(), case.problem), case, repeats=100)


def test_a_divergence_cut_from_the_graph_is_rejected(device, dtype):
    class Cut(MonteCarloDivergence):
        def __call__(self, *args):
            y_hat, divergence = super().__call__(*args)
            return y_hat, divergence.detach()

    case = make_case("mask", device, dtype)
    check_unbiased(SURE(Cut(), case.problem), case, nonlinear, repeats=40)
    with pytest.raises(Biased):
        check_gradient(SURE(Cut(), case.problem), case, repeats=40)


# --- equalities


@pytest.mark.parametrize("ratio", [1.2, 1.5, 3.0])
def test_ambient_tweedie_is_r2r(ratio, device):
    case = make_case("masked pooling", device, torch.float64)
    case.junk = 0.0
    y, sigma = draw(case)
    f = case.estimator(nonlinear)
    ambient = AmbientTweedie(LogUniform(ratio, ratio), problem=case.problem)
    generator = make_generator(device, 8)
    torch.rand(sigma.shape, generator=generator, dtype=sigma.dtype, device=device)  # the draw of the ratio
    torch.testing.assert_close(
        ambient(f, y, sigma, make_generator(device, 8)),
        R2R((ratio**2 - 1) ** 0.5, case.problem)(f, y, sigma, generator),
        rtol=1e-9,
        atol=1e-12,
    )


def test_the_weight_of_ambient_tweedie_multiplies(device, dtype):
    case = make_case("identity", device, dtype)
    y, sigma = draw(case)
    f = Recorder(nonlinear)
    plain = AmbientTweedie()(f, y, sigma, make_generator(device, 1))
    weighted = AmbientTweedie(weight=inverse_target_variance)(nonlinear, y, sigma, make_generator(device, 1))
    s = f.first[1]
    torch.testing.assert_close(weighted, plain * (1 - sigma**2 / s**2) ** 2 / s**2)


def test_the_target_of_ambient_tweedie_has_the_stated_variance(device):
    """sigma^2 / alpha at the true f: |x - target|^2 has mean sigma^2 / alpha, i.e. risk + that is its raw square."""
    case = make_case("identity", device, torch.float64)
    alpha = 1 - 1 / 1.5**2
    risk = AmbientTweedie(LogUniform(1.5, 1.5))
    y, sigma = draw(case)
    raw = risk(lambda _, s: case.x, y, sigma, make_generator(device, 1)) + sigma**2 / alpha
    ratio = raw / (sigma**2 / alpha)
    assert abs(ratio.mean() - 1) < 4 * (2 / y.numel()) ** 0.5


def test_recorrupted_views_are_those_of_the_noise(device, dtype):
    case = make_case("identity", device, dtype)
    y, sigma = draw(case)
    f = Recorder(nonlinear)
    R2R(0.7)(f, y, sigma, make_generator(device, 2))
    torch.testing.assert_close(f.first[0], Gaussian(sigma).recorrupt(y, 0.7, make_generator(device, 2))[0])
