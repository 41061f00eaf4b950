"""Every base loss has the mean of the supervised loss, for every noise family; and the check that says so rejects wrong
ones."""

import pytest
import torch
from loss_statistics import (
    BASE,
    CASES,
    MANY,
    Biased,
    Recorder,
    check_unbiased,
    check_zero,
    linear,
    make_case,
    mean_over,
    nonlinear,
)

from unveil.losses import LogUniform, Loss, Recorruption, Stein
from unveil.noise import Correlated, Gamma, Gaussian, Noise, Poisson
from unveil.random import make_generator, normal, signs
from unveil.shapes import expand


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize(("family", "operator"), CASES)
def test_unbiased(family, operator, name, device, dtype):
    """Of counts `Stein` is exact for linear estimators alone; for others in the first order of the gain, hence with
    many photons."""
    many = MANY.get(family, family) if name == "stein" else family
    case = make_case(operator, device, dtype, many)
    check_unbiased(BASE[name](case.x), case, nonlinear, repeats=40, sensitivity=0.04)
    if name == "stein":
        check_unbiased(Stein(), make_case(operator, device, dtype, family), linear, repeats=60)


# --- power: each of these is wrong in one place


class Wrong(Loss):
    """`Stein` and `Recorruption` rewritten in entries, the way that mistakes are made in."""

    def __init__(self, mistake):
        self.mistake = mistake

    def variance(self, m, y, share):
        """An unbiased estimate of the variance at an exposure `share`, for the right one."""
        (parameter,) = vars(m.noise).values()
        parameter = parameter if self.mistake == "columns" else expand(parameter, y)
        power = 1 if self.mistake == "parameter not squared" else 2
        more = {"y^2 / L": 0, "no looks": 1 - share * parameter}.get(self.mistake, 1)
        estimate = {
            Gaussian: lambda sigma: sigma**power / share,
            Poisson: lambda gain: gain * y / share,
            Gamma: lambda looks: y**2 / (share * looks + more),
        }[type(m.noise)]
        return estimate(parameter).expand_as(y)

    def view(self, m, t, generator):
        """y_t of an exposure t (B,)."""
        y, share = m.y, t if self.mistake == "columns of t" else expand(t, m.y)

        def gaussian(sigma):
            return y + (1 / share - 1).sqrt() * sigma * normal(y, generator)

        def poisson(gain):
            kept = torch.binomial((y / gain).round(), expand(t, y).expand_as(y), generator)
            return kept * gain / (1.0 if self.mistake == "thinned and not divided by t" else share)

        def gamma(looks):
            left = 1.0 if self.mistake == "beta of all" else 1 - share
            kept, taken = (
                torch._standard_gamma((looks * n).expand_as(y).contiguous(), generator) for n in (share, left)
            )
            return y * kept / (kept + taken) / (share / (share + left))

        (parameter,) = vars(m.noise).values()
        return {Gaussian: gaussian, Poisson: poisson, Gamma: gamma}[type(m.noise)](expand(parameter, y))

    def mean(self, m, entries):
        if self.mistake == "all entries counted":
            return m.operator.project(entries).flatten(1).mean(1)
        if self.mistake == "unmeasured entries":
            return entries.flatten(1).mean(1)
        return mean_over(m.operator, entries)


class WrongStein(Wrong):
    step = 0.01

    def __call__(self, f, m, generator):
        mistake, y, project = self.mistake, m.y, m.operator.project
        length = self.step * m.level
        s = length if mistake == "columns probed" else expand(length, y)
        w = signs(y, generator)
        h = m.operator.A(f(m))
        moved = m.operator.A(f(m.at(y + project(s * w))))
        derivative = project(w) * (moved - h) / (self.step if mistake == "step in levels" else expand(length, y))
        variance = self.variance(m, y, 1.0)
        factor = {"sign": -2.0, "factor 2": 1.0, "no divergence": 0.0}.get(mistake, 2.0)
        offset = 0.0 if mistake == "variance not subtracted" else variance
        return self.mean(m, (y - h).square() + factor * variance * derivative - offset)


class WrongRecorruption(Wrong):
    ratio = LogUniform(1.25, 2.5)

    def __call__(self, f, m, generator):
        mistake, y, noise = self.mistake, m.y, m.noise
        t = self.ratio(m.level, generator) ** -2
        share = t if mistake == "columns of t" else expand(t, y)
        view = m.at(self.view(m, t, generator))
        told = {"told the exposure 1": torch.ones_like(t), "told 1 - t": 1 - t}.get(mistake, t)
        view = type(m)(view.y, m.operator, noise.exposed(told))
        rest = {
            "rest not divided by 1 - t": y - share * view.y,
            "sign": (y + share * view.y) / (1 + share),
            "y for the rest": y,
            "t and 1 - t swapped": (y - (1 - share) * view.y) / share,
        }.get(mistake, (y - share * view.y) / (1 - share))
        exposure = {"variance at exposure 1": 1.0, "variance at t": share}.get(mistake, 1 - share)
        variance = self.variance(m, rest, exposure)
        if mistake == "variance not subtracted":
            variance = 0 * variance
        if mistake == "variance added":
            variance = -variance
        return self.mean(m, (rest - m.operator.A(f(view))).square() - variance)


BOTH = ["columns", "variance not subtracted", "all entries counted", "unmeasured entries"]
MISTAKES = {
    WrongStein: [*BOTH, "sign", "factor 2", "no divergence", "columns probed", "step in levels"],
    WrongRecorruption: [
        *BOTH,
        "columns of t",
        "told the exposure 1",
        "told 1 - t",
        "rest not divided by 1 - t",
        "sign",
        "y for the rest",
        "t and 1 - t swapped",
        "variance at exposure 1",
        "variance at t",
        "variance added",
    ],
}
ONLY = {
    "gaussian": {WrongRecorruption: ["parameter not squared"]},
    "poisson, many": {WrongRecorruption: ["thinned and not divided by t"]},
    "gamma": {WrongRecorruption: ["beta of all", "y^2 / L"], WrongStein: ["y^2 / L", "no looks"]},
}
FITS = {"gamma": linear}
"""The estimator for which a short probe is exact, where it is not for every one."""


@pytest.mark.parametrize("family", ONLY)
@pytest.mark.parametrize("kind", MISTAKES)
def test_the_rewritten_losses_are_right_without_a_mistake(kind, family, device, dtype):
    case = make_case("mask", device, dtype, family)
    check_unbiased(kind(None), case, FITS.get(family, nonlinear), repeats=40)


@pytest.mark.parametrize("family", ONLY)
@pytest.mark.parametrize("kind", MISTAKES)
def test_the_check_rejects(kind, family, device, dtype):
    case = make_case("mask", device, dtype, family)
    accepted = []
    for mistake in MISTAKES[kind] + ONLY[family].get(kind, []):
        try:
            check_unbiased(kind(mistake), case, FITS.get(family, nonlinear), repeats=16, sensitivity=1e9)
        except Biased:
            continue
        accepted.append(mistake)
    assert not accepted


def test_the_check_sees_what_cancels_over_the_batch(device, dtype):
    """Variance of a neighbour in the batch, weighted so that the normalised mean is right."""
    case = make_case("identity", device, dtype)

    class Cancelling(Stein):
        def __call__(self, f, m, generator):
            signs = torch.ones_like(m.level)
            signs[::2] = -1
            return super().__call__(f, m, generator) + 0.15 * signs * m.level**2

    with pytest.raises(Biased, match="scatter"):
        check_unbiased(Cancelling(), case, nonlinear, repeats=40)


class WhiteProbe(Correlated):
    """Probes with white noise of the right variance."""

    def _straight(self, y, mean, step, generator):
        return Noise._straight(self, y, mean, step, generator)


class WhiteViews(Correlated):
    """Takes exposure away by white noise of the right variance."""

    def noisier(self, y, t, generator):
        return y + ((1 / expand(t, y) - 1) * self.variance(y)).sqrt() * normal(y, generator)


@pytest.mark.parametrize(("wrong", "name"), [(WhiteProbe, "stein"), (WhiteViews, "recorruption")])
@pytest.mark.parametrize(("family", "operator"), [("correlated", "mask"), ("channels", "identity")])
def test_white_draws_of_correlated_noise_are_rejected(wrong, name, family, operator, device, dtype):
    case = make_case(operator, device, dtype, family)
    own = case.noise
    case.noise = wrong(own.sigma, own.kernel, own.rows, own.columns, own.covariance)
    with pytest.raises(Biased):
        check_unbiased(BASE[name](case.x), case, nonlinear, repeats=16, sensitivity=1e9)


# --- gradients


def theta_estimator(theta):
    """What theta multiplies is as small as the noise, or its product with the noise would drown the divergence's
    gradient."""

    def f(m):
        z = m.operator.A_dagger(m.y)
        s, step = expand(3 * m.level, z), z - z.roll(1, -1)
        return z + theta[0] * step + theta[1] * s * torch.tanh(step / s)

    return f


def gradient_differences(loss, case, repeats, key=4):
    """(R, 2): the gradient of mean(loss / v) less that of the supervised loss, at the estimator's input."""
    theta, rows = torch.tensor([-0.3, -0.2], dtype=case.x.dtype, device=case.x.device, requires_grad=True), []
    for r in range(repeats):
        m = case.measure(make_generator(case.x.device, key, r, 1))
        f = Recorder(theta_estimator(theta))
        value = loss(f, m, make_generator(case.x.device, key, r, 2))
        error = mean_over(case.operator, (case.operator.A(f.f(f.first)) - case.clean).square())
        rows.append(torch.autograd.grad(((value - error) / case.scale).mean(), theta)[0])
    return torch.stack(rows).double()


def check_gradient(loss, case, repeats=40):
    d = gradient_differences(loss, case, repeats)
    for i in range(2):
        check_zero(d[:, i : i + 1], f"gradient {i}", sensitivity=0.1)


@pytest.mark.parametrize(
    ("family", "operator"),
    [
        ("gaussian", "masks per sample"),
        ("gaussian", "binning"),
        ("poisson, many", "blur"),
        ("poisson, many", "binning"),
        ("gamma", "blur"),
        ("gamma", "binning"),
    ],
)
@pytest.mark.parametrize("loss", [Stein(), Recorruption()], ids=["stein", "recorruption"])
def test_the_gradient_is_unbiased(loss, operator, family, device, dtype):
    check_gradient(loss, make_case(operator, device, dtype, family))


def test_the_gradient_is_unbiased_with_few_photons(device, dtype):
    check_gradient(Recorruption(), make_case("masks per sample", device, dtype, "poisson"))


def test_a_divergence_cut_from_the_graph_is_rejected(device, dtype):
    class Cut(Stein):
        def __call__(self, f, m, generator):
            with torch.no_grad():
                value = super().__call__(f, m, generator)
            residual = m.mean_square(m.y - m.predict(f(m)))
            return residual + value - residual.detach()

    case = make_case("mask", device, dtype)
    check_unbiased(Cut(), case, nonlinear, repeats=40)
    with pytest.raises(Biased):
        check_gradient(Cut(), case)
