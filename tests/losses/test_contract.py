"""What every risk must do, whatever its statistics, and the known defects of such losses elsewhere."""

import pytest
import torch
from risk_statistics import (
    RISKS,
    Biased,
    Spy,
    check_unbiased,
    count_graph,
    draw,
    make_case,
    nonlinear,
)

from unveil.problem import Problem
from unveil.random import make_generator
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    ExactDivergence,
    LogUniform,
    MeasurementConsistency,
    Mix,
    MonteCarloDivergence,
    Noisier,
    NormalizationLaw,
    Oracle,
    Supervised,
    Weighted,
    dilate,
    inverse_target_variance,
    paper_law,
    renormalize,
)

ALL = RISKS | {
    "consistency": lambda problem, x: MeasurementConsistency(problem),
    "oracle": lambda problem, x: Oracle(),
    "renormalized": lambda problem, x: renormalize(SURE(problem=problem)),
    "renormalized, paper": lambda problem, x: renormalize(R2R(problem=problem), paper_law),
    "weighted": lambda problem, x: Weighted(SURE(problem=problem)),
    "noisier": lambda problem, x: Noisier(Weighted(SURE(problem=problem)), LogUniform(1.0, 3.0)),
    "ambient, weighted": lambda problem, x: AmbientTweedie(weight=inverse_target_variance, problem=problem),
    "mix": lambda problem, x: Mix([(0.5, SURE(problem=problem)), (0.25, R2R()), (0.25, AmbientTweedie())]),
    "dilated": lambda problem, x: dilate(Mix([(0.5, SURE()), (0.5, AmbientTweedie())]), (1, 2, 4)),
}
every_risk = pytest.mark.parametrize("name", ALL)


def small(device, dtype, problem="identity"):
    """8 images of 2x4x8: as many as each is wide."""
    return make_case(problem, device, dtype, channels=2, height=4, width=8, batch=8)


def run(name, case, f=None, seed=1, y=None, sigma=None):
    risk = ALL[name](case.problem, case.x)
    y_, sigma_ = draw(case)
    y, sigma = y_ if y is None else y, sigma_ if sigma is None else sigma
    return risk(f or case.estimator(nonlinear), y, sigma, make_generator(y.device, seed))


@every_risk
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_one_value_per_sample(name, precision, device):
    value = run(name, small(device, precision))
    assert value.shape == (8,)
    assert value.dtype == precision
    assert value.isfinite().all()


@every_risk
def test_gradients_reach_the_parameters(name, device, dtype):
    case = small(device, dtype)
    gain = torch.tensor(0.8, device=device, dtype=dtype, requires_grad=True)
    value = run(name, case, lambda y, sigma: gain * case.estimator(nonlinear)(y, sigma))
    gradient = torch.autograd.grad(value.mean(), gain)[0]
    assert gradient.isfinite()
    assert gradient != 0


@every_risk
def test_same_seed_same_value_and_no_state(name, device, dtype):
    case = small(device, dtype)
    risk = ALL[name](case.problem, case.x)
    y, sigma = draw(case)
    copies = y.clone(), sigma.clone()
    before, rng = snapshot(risk), torch.get_rng_state()
    a, b, c = (risk(nonlinear, y, sigma, make_generator(device, seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    draws = name not in ("supervised", "consistency", "sure, exact")
    assert torch.equal(a, c) != draws
    assert snapshot(risk) == before, "a call leaves no trace in the risk"
    assert torch.equal(torch.get_rng_state(), rng), "no draw from the global generator"
    assert torch.equal(y, copies[0])
    assert torch.equal(sigma, copies[1])


def snapshot(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [snapshot(v) for v in value]
    if hasattr(value, "__dict__") and not callable(getattr(value, "__code__", None)):
        return type(value).__name__, {k: snapshot(v) for k, v in vars(value).items()}
    return value if isinstance(value, (int, float, str, bool, type(None))) else id(value)


@every_risk
def test_no_graph_grows_over_the_steps(name, device, dtype):
    case = small(device, dtype)
    risk = ALL[name](case.problem, case.x)
    gain = torch.tensor(0.8, device=device, dtype=dtype, requires_grad=True)
    y, sigma = draw(case)
    nodes = []
    for _ in range(5):
        loss = risk(lambda y, s: gain * nonlinear(y, s), y, sigma, make_generator(device, 1)).mean()
        nodes.append(count_graph(loss))
        loss.backward()
        assert not y.requires_grad
        assert y.grad_fn is None
        assert y.grad is None
        assert not sigma.requires_grad
    assert nodes == [nodes[0]] * 5
    assert nodes[0] > 3


@pytest.mark.parametrize("name", [name for name in ALL if name != "sure, quarter"])
def test_samples_are_not_coupled(name, device, dtype):
    case = small(device, dtype)
    y, sigma = draw(case)
    others_y, others_sigma, x = 3 * y.flip(1) - 1, sigma.flip(0), case.x
    before = run(name, case, y=y, sigma=sigma)
    for i in range(len(y)):
        other_y, other_sigma = others_y.clone(), others_sigma.clone()
        other_y[i], other_sigma[i] = y[i], sigma[i]
        case.x = 2 * x
        case.x[i] = x[i]
        after = run(name, case, y=other_y, sigma=other_sigma)
        torch.testing.assert_close(after[i], before[i], rtol=1e-5, atol=1e-8)


def test_a_level_that_broadcasts_over_columns_would_show(device, dtype):
    """Swapping the levels of two samples swaps nothing else: with B = W the columns would change."""
    case = small(device, dtype)
    sigma = case.sigma
    for name in ("sure", "r2r .5", "ambient", "noisier", "renormalized"):
        swapped = sigma.clone()
        swapped[[0, 1]] = sigma[[1, 0]]
        change = run(name, case, sigma=swapped) != run(name, case, sigma=sigma)
        assert change.tolist() == [True, True] + [False] * 6, name


@pytest.mark.parametrize("scale", [1e-3, 1e4])
@pytest.mark.parametrize("name", ["sure", "sure, quarter", "r2r .5", "ambient"])
def test_the_scale_of_the_data_is_free(name, scale, device):
    """R(c f(. / c)) at (c y, c sigma) is c^2 R(f): in electrons, counts or [0, 1] alike, in single precision."""
    case = small(device, torch.float32)
    y, sigma = draw(case)
    value = run(name, case, y=y, sigma=sigma)
    scaled = run(name, case, lambda y, s: scale * nonlinear(y / scale, s / scale), y=scale * y, sigma=scale * sigma)
    assert ((scaled / scale**2 - value).abs() < 1e-2 * value.abs() + 1e-2 * sigma**2).all()


def test_the_step_follows_the_noise(device, dtype):
    """A fixed step fails the test above: c = 1e-3 probes far beyond the bend of the estimator."""

    class Fixed(MonteCarloDivergence):
        def probe(self, f, y, y_hat, sigma, w, problem):
            return super().probe(f, y, y_hat, torch.full_like(sigma, 0.1), w, problem) if sigma.max() < 1 else 0

    case = small(device, dtype)
    y, sigma = draw(case)
    values = [
        SURE(Fixed())(lambda y, s, c=c: c * nonlinear(y / c, s / c), c * y, c * sigma, make_generator(device, 1)) / c**2
        for c in (1.0, 1e-3)
    ]
    assert ((values[0] - values[1]).abs() > 0.02 * sigma**2).any()


# --- cost


class Meter:
    """An estimator that counts network passes in units of a whole batch."""

    def __init__(self, batch):
        self.batch, self.passes = batch, 0.0

    def __call__(self, y, sigma):
        assert sigma.shape == (len(y),)
        self.passes += len(y) / self.batch
        return nonlinear(y, sigma)


@pytest.mark.parametrize("name", [name for name in ALL if name != "sure, exact"])
def test_the_stated_cost_is_the_cost(name, device, dtype):
    case = small(device, dtype)
    risk = ALL[name](case.problem, case.x)
    meter = Meter(8)
    risk(meter, *draw(case), make_generator(device, 1))
    assert risk.passes == pytest.approx(meter.passes)


@pytest.mark.parametrize("part", [0.125, 0.25, 0.5, 1.0])
def test_the_cost_of_a_part(part):
    assert SURE(MonteCarloDivergence(part=part)).passes == 1 + part
    assert SURE(ExactDivergence()).passes == float("inf")


# --- the entries that are not measured


@pytest.mark.parametrize("name", [name for name in RISKS if name not in ("r2r .5", "r2r 1.5")])
def test_what_is_not_measured_is_not_counted(name, device, dtype):
    """An f that is zero where nothing is measured, and blind to it: junk there changes no risk."""
    case = small(device, dtype, "mask")
    y, _ = draw(case)
    project = case.problem.project
    f = lambda y, s: nonlinear(project(y), s)  # noqa: E731
    junk = y + 5 * (1 - project(torch.ones_like(y)))
    torch.testing.assert_close(run(name, case, f, y=y), run(name, case, f, y=junk), rtol=1e-4, atol=1e-6)


def test_the_count_is_that_of_measured_entries(device, dtype):
    """Of f = 0 the risk of y is |y|^2 / m - sigma^2: with n for m it is off by sigma^2 (1 - m / n)."""
    case = small(device, dtype, "masks per sample")
    y, sigma = draw(case)
    keep = case.problem.measured.expand_as(y)
    squares = torch.stack([a[k].square().mean() for a, k in zip(y, keep)])
    value = SURE(problem=case.problem)(lambda y, s: 0 * y, y, sigma, make_generator(device, 1))
    torch.testing.assert_close(value, squares - sigma**2)


# --- measurement consistency fails, as it must


def test_consistency_is_biased_by_the_divergence(device):
    """Its mean is the supervised risk + sigma^2 - 2 sigma^2 div f / m."""

    class Corrected(MeasurementConsistency):
        def __call__(self, f, y, sigma, generator):
            value = super().__call__(f, y, sigma, generator)
            _, divergence = ExactDivergence()(f, y, sigma, self.problem, generator)
            return value - sigma**2 + 2 * sigma**2 * divergence

    case = make_case("mask", device, torch.float64, channels=1, height=1, width=16, batch=16)
    check_unbiased(Corrected(case.problem), case, nonlinear, repeats=120, sensitivity=0.04)
    with pytest.raises(Biased):
        check_unbiased(MeasurementConsistency(case.problem), case, nonlinear, repeats=40, sensitivity=1)


def test_consistency_is_zero_at_the_identity_alone(device, dtype):
    for problem in ("identity", "mask"):
        case = small(device, dtype, problem)
        risk = MeasurementConsistency(case.problem)
        generator = make_generator(device, 1)
        assert (risk(lambda y, s: y, *draw(case), generator) == 0).all()
        assert (risk(lambda y, s: 0.9 * y, *draw(case), generator) > 0).all()


# --- minimisers: of f = k y and x ~ N(0, v^2) the best k at level s is Wiener's v^2 / (v^2 + s^2)

SIGNAL, LEVEL = 0.3, 0.2

MINIMISED = {
    "supervised": (lambda x: Supervised(x), 1.0),
    "sure": (lambda x: SURE(), 1.0),
    "sure, quarter": (lambda x: SURE(MonteCarloDivergence(part=0.25)), 1.0),
    "sure, exact": (lambda x: SURE(ExactDivergence()), 1.0),
    "r2r .5": (lambda x: R2R(0.5), 1.25**0.5),
    "r2r 1.5": (lambda x: R2R(1.5), 3.25**0.5),
    "ambient": (lambda x: AmbientTweedie(LogUniform(2.0, 2.0)), 2.0),
    "noisier": (lambda x: Noisier(SURE(), LogUniform(1.5, 1.5)), 1.5),
    "noisier r2r": (lambda x: Noisier(R2R(1.0), LogUniform(1.5, 1.5)), 1.5 * 2**0.5),
    "mix": (lambda x: Mix([(0.5, SURE()), (0.5, SURE())]), 1.0),
}


def minimiser(risk, y, sigma, seed=1):
    """(k, its standard error) at the minimum of the mean risk of k y, a parabola in k."""
    low, middle, high = (
        risk(lambda y, s, k=k: k * y, y, sigma, make_generator(y.device, seed)).detach().double()
        for k in (0.0, 0.5, 1.0)
    )
    curvature, slope = 4 * (low - 2 * middle + high), -3 * low + 4 * middle - high  # slope at k = 0
    k = -slope.mean() / curvature.mean()
    return float(k), float((slope + k * curvature).std() / len(y) ** 0.5 / curvature.mean())


def gaussian_signals(device):
    generator = make_generator(device, 21)
    x = SIGNAL * torch.randn(4000, 1, 4, 4, generator=generator, device=device, dtype=torch.float64)
    y = x + LEVEL * torch.randn(x.shape, generator=generator, device=device, dtype=torch.float64)
    return x, y, torch.full((4000,), LEVEL, device=device, dtype=torch.float64)


@pytest.mark.parametrize("name", MINIMISED)
def test_the_minimiser_is_wieners_gain(name, device):
    make, ratio = MINIMISED[name]
    x, y, sigma = gaussian_signals(device)
    k, error = minimiser(make(x), y, sigma)
    wiener = SIGNAL**2 / (SIGNAL**2 + (LEVEL * ratio) ** 2)
    assert error < 0.02
    assert abs(k - wiener) < 4 * error


def test_the_minimiser_of_consistency_is_the_identity(device):
    _, y, sigma = gaussian_signals(device)
    assert minimiser(MeasurementConsistency(), y, sigma)[0] == pytest.approx(1, abs=1e-9)


def test_renormalization_keeps_the_gain_of_a_scale_free_signal(device):
    """At mu = 0 and one a: signals N(0, (a v)^2) at level a sigma have the same gain; the level told is a sigma."""
    _, y, sigma = gaussian_signals(device)
    law = lambda sigma, generator: (torch.full_like(sigma, 0.3), torch.zeros_like(sigma))  # noqa: E731
    spy = Spy()
    renormalize(spy, law)(lambda y, s: y, y, sigma, make_generator(device, 1))
    torch.testing.assert_close(spy.sigma, 0.3 * sigma)
    k, error = minimiser(renormalize(SURE(), law), y, sigma)
    assert abs(k - SIGNAL**2 / (SIGNAL**2 + LEVEL**2)) < 4 * error < 0.05


# --- laws


def test_laws(device, dtype):
    sigma = torch.ones(4000, device=device, dtype=dtype)
    a, mu = NormalizationLaw(0.05)(sigma, make_generator(device, 1))
    assert a.shape == mu.shape == (4000,)
    assert a.min() >= 0.05 * (1 - 1e-6)
    assert a.max() <= 1
    assert mu.min() >= 0
    assert (a + mu).max() <= 1 + 1e-6
    uniform = [a.log() / torch.tensor(0.05).log(), mu / (1 - a)]
    uniform += list(paper_law(sigma, make_generator(device, 2)))
    uniform += [LogUniform(0.1, 10.0)(sigma, make_generator(device, 3)).log10() / 2 + 0.5]
    for i, u in enumerate(uniform):
        assert abs(u.mean() - 0.5) < 4 * (1 / 12 / 4000) ** 0.5 + 1e-3, i
        assert abs(u.var() - 1 / 12) < 4 * (1 / 180 / 4000) ** 0.5 + 1e-3, i
    a, mu = paper_law(sigma, make_generator(device, 2))
    assert a.min() >= 1e-3
    assert abs(torch.corrcoef(torch.stack([a, mu]))[0, 1]) < 4 / 4000**0.5
    torch.testing.assert_close(LogUniform(2.0, 2.0)(sigma, make_generator(device, 1)), 2 * sigma)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_laws_refuse(low, high):
    with pytest.raises(ValueError, match="low"):
        LogUniform(low, high)


def test_a_problem_reaches_the_combinators():
    problem = Problem(None, torch.tensor([True, False]))
    for risk in (
        renormalize(SURE(problem=problem)),
        Weighted(R2R(problem=problem)),
        Mix([(1.0, SURE(problem=problem))]),
    ):
        assert risk.problem is problem
