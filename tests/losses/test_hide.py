"""Risks for what A does not see: against the supervised risk and closed forms, and the checks reject wrong ones."""

import pytest
import torch
from risk_statistics import (
    ESTIMATORS,
    Biased,
    check_zero,
    draw,
    linear,
    make_case,
    mean_square,
    nonlinear,
)
from unveil.problem import DENOISING, Problem, Several
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    Each,
    Equivariance,
    HiddenEntries,
    Hide,
    LogUniform,
    MeasurementConsistency,
    Simulated,
    Symmetrize,
    hidden_axes,
    told,
)

from unveil.errors import UnveilError
from unveil.operators import cartesian_mask, inpainting, mri
from unveil.random import make_generator, normal
from unveil.shapes import expand
from unveil.symmetry import Flip, Shift, make_symmetry

# --- splitting: f is shown a part of the entries, and told which


class Told:
    """f(y, sigma, part): what it does not see it fills in with 0.5. Keeps its first arguments."""

    def __init__(self, case, g):
        self.case, self.g, self.first = case, g, None

    def __call__(self, y, sigma, part):
        if self.first is None:
            self.first = (y.detach(), sigma.detach(), part)
        unseen = self.case.lift(1 - part.project(torch.ones_like(y)))  # y as it comes: a leak goes through
        return self.g(self.case.lift(y) + 0.5 * unseen, sigma)


def seen_and_clean(case, part, y):
    """Which entries (B, *measurement) f sees, and A x."""
    return part.measured.expand_as(y), case.clean


def splitting_differences(risk, case, g, repeats, judged):
    """(D (R, B), noise (R, B)) as in `risk_statistics`, of f on what it saw. judged: (seen, measured) -> entries of the risk."""
    rows, noise = [], []
    with torch.no_grad():
        for r in range(repeats):
            y = case.measure(make_generator(case.x.device, 6, r, 1))
            f = Told(case, g)
            value = risk(f, y, case.sigma, make_generator(case.x.device, 6, r, 2))
            y_in, s_in, part = f.first
            seen, clean = seen_and_clean(case, part, y)
            if y_in[~seen].any():
                raise Biased("f sees entries that it should not")
            measured = case.problem.project(torch.ones_like(y)) > 0
            assert not (seen & ~measured).any()
            error = case.problem.predict(f(y_in, s_in, part)) - clean
            on = Problem(None, judged(seen, measured))
            rows.append((value - mean_square(on, error)) / s_in**2)
            noise.append(mean_square(Problem(None, seen), y_in - clean) / s_in**2)
    return torch.stack(rows).double(), torch.stack(noise).double()


def check_splitting(risk, case, g, repeats=24, judged=lambda seen, measured: measured, sensitivity=0.06):
    d, noise = splitting_differences(risk, case, g, repeats, judged)
    check_zero(d, "risk - supervised risk", sensitivity)
    check_zero(noise - 1, "level of what f sees", sensitivity)


BASE = {
    "sure": lambda problem: SURE(problem=problem),
    "ambient": lambda problem: AmbientTweedie(LogUniform(1.4, 3.0), problem=problem),
}
SPLIT = ("masks per sample", "masked pooling", "complex")


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("problem", SPLIT)
@pytest.mark.parametrize("base", BASE)
def test_hide_is_unbiased_for_the_estimator_that_sees_a_part(base, problem, estimator, device, dtype):
    case = make_case(problem, device, dtype)
    check_splitting(Hide(BASE[base](case.problem), share=0.3, keep=0.3), case, ESTIMATORS[estimator])


class WrongHide(Hide):
    def __init__(self, mistake, *arguments, **options):
        super().__init__(*arguments, **options)
        self.mistake = mistake

    def __call__(self, f, y, sigma, generator):
        shown = self.shown(y, generator)
        part = self.problem.restrict(shown)
        judge = BASE["sure"](part) if self.mistake == "only the seen judged" else self.risk

        def f_1(y, sigma):
            return f(y if self.mistake == "leak" else part.project(y), sigma, part)

        value = judge(f_1, y, sigma, generator)
        if self.mistake == "hidden noise not subtracted":  # SURE as if m were the number of entries that f sees
            value = value + sigma**2 * (1 - part.count(y) / self.problem.count(y))
        return value

    def shown(self, y, generator):
        if self.mistake != "keep ignored":
            return super().shown(y, generator)
        return Hide(self.risk, self.share, 0.0, self.axes).shown(y, generator)


def test_hide_rewritten_is_right_without_a_mistake(device, dtype):
    case = make_case("masked pooling", device, dtype)
    check_splitting(WrongHide(None, BASE["sure"](case.problem), share=0.3, keep=0.3), case, nonlinear)


@pytest.mark.parametrize("mistake", ["leak", "only the seen judged", "hidden noise not subtracted"])
def test_wrong_hides_are_rejected(mistake, device, dtype):
    case = make_case("masked pooling", device, dtype)
    with pytest.raises(Biased):
        check_splitting(
            WrongHide(mistake, BASE["sure"](case.problem), share=0.3, keep=0.3), case, nonlinear, sensitivity=1e9
        )


def check_what_is_hidden(make, axes, device, share=0.3, keep=0.4, batch=400):
    """Raises Biased unless, by binomial laws, `keep` of the samples are whole and `share` of the places of the others hidden."""
    y = torch.ones(batch, 4, 6, 6, device=device)
    masks = []

    def f(y, sigma, part):
        masks.append(part.project(torch.ones_like(y)))
        return y

    case = make_case("identity", device, torch.float32)  # only for its problem, the identity
    make(MeasurementConsistency(case.problem), share, keep, axes)(f, y, torch.ones(batch), make_generator(device, 1))
    (shown,) = masks
    other = [axis for axis in (1, 2, 3) if axis - 4 not in axes]
    alike = shown.amin(other, keepdim=True) if other else shown
    assert torch.equal(alike.expand_as(shown), shown), "hidden alike along the other axes"
    places = alike.flatten(1)
    whole = (places.min(1).values > 0).double()
    n = places.shape[1]
    odds = keep + (1 - keep) * (1 - share) ** n
    z = float(whole.mean() - odds) / (odds * (1 - odds) / batch) ** 0.5
    if abs(z) > 4:
        raise Biased(f"{float(whole.mean()):.3f} of the samples are whole, {z:.1f} standard errors from {odds:.3f}")
    hidden = (1 - places).double().mean(1)  # of all samples: mean (1 - keep) share, by the law of the sum of two draws
    mean, second = (1 - keep) * share, (1 - keep) * (share**2 + share * (1 - share) / n)
    z = float(hidden.mean() - mean) / ((second - mean**2) / batch) ** 0.5
    if abs(z) > 4:
        raise Biased(f"{float(hidden.mean()):.3f} of the places are hidden, {z:.1f} standard errors from {mean:.3f}")
    assert len({tuple(row.tolist()) for row in places}) > 20, "drawn anew for each sample"


@pytest.mark.parametrize("axes", [(-2, -1), (-1,), (-3, -2, -1)])
def test_what_hide_hides(axes, device):
    check_what_is_hidden(Hide, axes, device)
    with pytest.raises(Biased, match="whole"):
        check_what_is_hidden(lambda *given: WrongHide("keep ignored", *given), axes, device)
    with pytest.raises(Biased):
        check_what_is_hidden(lambda risk, share, keep, axes: Hide(risk, share / 2, keep, axes), axes, device)


def test_hide_draws_anew_at_each_call_and_costs_what_its_risk_costs(device, dtype):
    case = make_case("mask", device, dtype)
    risk, y, masks = Hide(R2R(problem=case.problem)), draw(case)[0], []
    for seed in (1, 1, 2):
        f = Told(case, linear)
        risk(f, y, case.sigma, make_generator(device, seed))
        masks.append(f.first[2].measured)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert risk.passes == 1
    assert Hide(SURE(problem=case.problem)).passes == 2


# --- entries hidden for validation


def hidden_alone(seen, measured):
    return measured & ~seen


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("problem", SPLIT)
def test_hidden_entries_is_unbiased_for_the_error_there(problem, estimator, device, dtype):
    case = make_case(problem, device, dtype)
    risk = HiddenEntries(case.problem, 0.3)
    check_splitting(risk, case, ESTIMATORS[estimator], repeats=60, judged=hidden_alone, sensitivity=0.12)


class WrongHiddenEntries(HiddenEntries):
    """Rewritten in entries, the way that mistakes are made in."""

    def __init__(self, mistake, problem, share):
        super().__init__(problem, share)
        self.mistake = mistake

    def __call__(self, f, y, sigma, generator):
        shown = torch.rand(1, 1, *y.shape[2:], generator=generator, device=y.device) >= self.share
        measured = self.problem.project(torch.ones_like(y)) > 0
        part = Problem(self.problem.operator, shown & measured, self.problem.image_shape)
        x_hat = f(y if self.mistake == "leak" else torch.where(part.measured, y, 0), sigma, part)
        hidden = measured if self.mistake == "all entries judged" else measured & ~shown
        residual = torch.where(hidden, y - self.problem.predict(x_hat), 0).square().flatten(1).sum(1)
        count = hidden.flatten(1).sum(1)
        if self.mistake == "all entries counted":
            count = torch.full_like(count, y[0].numel())
        if self.mistake == "noise not subtracted":
            return residual / count
        return residual / count - (sigma if self.mistake == "sigma for its square" else sigma**2)


def test_hidden_entries_rewritten_is_right_without_a_mistake(device, dtype):
    case = make_case("masks per sample", device, dtype)
    risk = WrongHiddenEntries(None, case.problem, 0.3)
    check_splitting(risk, case, nonlinear, repeats=60, judged=hidden_alone, sensitivity=0.12)
    y, sigma = draw(case)
    torch.testing.assert_close(
        risk(Told(case, nonlinear), y, sigma, make_generator(device, 1)),
        HiddenEntries(case.problem, 0.3)(Told(case, nonlinear), y, sigma, make_generator(device, 1)),
    )


@pytest.mark.parametrize(
    "mistake", ["noise not subtracted", "sigma for its square", "leak", "all entries judged", "all entries counted"]
)
def test_wrong_hidden_entries_are_rejected(mistake, device, dtype):
    case = make_case("masks per sample", device, dtype)
    with pytest.raises(Biased):
        check_splitting(
            WrongHiddenEntries(mistake, case.problem, 0.3), case, nonlinear, 60, hidden_alone, sensitivity=1e9
        )


def test_a_leak_is_a_bias_and_not_only_seen_in_the_input(device, dtype):
    """What the check of the input finds is worth finding: f that sees what it is judged on looks too good."""
    case = make_case("masks per sample", device, dtype)
    rows = []
    for r in range(60):
        y = case.measure(make_generator(device, 7, r, 1))
        f = Told(case, linear)
        value = WrongHiddenEntries("leak", case.problem, 0.3)(f, y, case.sigma, make_generator(device, 7, r, 2))
        seen, clean = seen_and_clean(case, f.first[2], y)
        error = case.problem.predict(f(*f.first)) - clean
        measured = case.problem.project(torch.ones_like(y)) > 0
        rows.append((value - mean_square(Problem(None, measured & ~seen), error)) / case.sigma**2)
    with pytest.raises(Biased):
        check_zero(torch.stack(rows).double(), "leak", sensitivity=1e9)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_shares_outside_the_interval_are_refused(share):
    for make in (lambda: Hide(SURE(), share), lambda: HiddenEntries(DENOISING, share)):
        with pytest.raises(UnveilError, match="share") as caught:
            make()
        assert "\n" not in str(caught.value)
    with pytest.raises(UnveilError, match="keep"):
        Hide(SURE(), 0.2, keep=1.0)


# --- linear estimators of a dense A, for closed forms

IMAGE, N, M = (1, 4, 6), 24, 12


class Matrix:
    """A (m, n) for all samples, or (B, m, n), one for each; y is (1, 1, m)."""

    def __init__(self, a):
        self.a = a

    def A(self, x):
        return (self.a @ x.flatten(1)[..., None]).reshape(len(x), 1, 1, -1)

    def A_adjoint(self, y):
        return (self.a.mT @ y.flatten(1)[..., None]).reshape(len(y), *IMAGE)


def random(device, *shape, key=0):
    return torch.randn(shape, generator=make_generator(device, 9, key), dtype=torch.float64, device=device)


class LinearCase:
    """x (B, *IMAGE), A (M, N) of which 3 rows are not measured, f(y) = F y, levels (B,) a factor 4 apart; B = M, the width."""

    def __init__(self, device):
        self.x = 0.5 + 0.3 * random(device, M, *IMAGE, key=1)
        self.sigma = 0.15 * 4 ** torch.linspace(0, 1, M, device=device, dtype=torch.float64)
        a = random(device, M, N, key=2) / N**0.5
        measured = torch.ones(M, device=device, dtype=torch.bool)
        measured[[1, 4, 5]] = False
        self.problem = Problem(Matrix(a), measured, IMAGE, (1, 1, M))
        self.a = a * measured[:, None]  # with the rows that are not measured
        self.f_matrix = 0.5 * random(device, N, M, key=3) / M**0.5 + a.mT
        self.measured = measured

    def f(self, y, sigma):
        return (y.flatten(1) @ self.f_matrix.mT).reshape(len(y), *IMAGE)

    def measure(self, generator):
        u = self.problem.predict(self.x)
        return self.problem.project(u + expand(self.sigma, u) * normal(u, generator))

    def actions(self, symmetry):
        """T_g (|G|, N, N) of all elements."""
        basis = torch.eye(N, dtype=self.x.dtype, device=self.x.device).reshape(N, *IMAGE)
        elements = symmetry.elements(IMAGE).to(self.x)
        return torch.stack([symmetry.apply(basis, g.expand(N, -1)).flatten(1).mT for g in elements])

    def again(self, t, mean, spread, s):
        """E |z - F (A z + s w)|^2 / n (B,) of z = T_g u: u of mean (B, N) and covariance spread spread^T (N, k) times s^2."""
        error = (torch.eye(N).to(t) - self.f_matrix @ self.a) @ t  # (|G|, N, N)
        kept = self.f_matrix[:, self.measured]
        signal = (error @ mean.mT).square().sum(1).mean(0)
        noise = (error @ spread).square().sum((1, 2)).mean() + kept.square().sum()
        return (signal + s**2 * noise) / N


def check_ratio(value_of, expected_of, repeats, what):
    """Raises Biased unless value / expected (B,) has the mean 1. value_of: repeat -> (B,)."""
    with torch.no_grad():
        rows = torch.stack([value_of(r) / expected_of(r) for r in range(repeats)])
    check_zero(rows - 1, what, sensitivity=0.03)
    return rows - 1


def equivariance_in_expectation(case, symmetry):
    mean = case.x.flatten(1) @ (case.f_matrix @ case.a).mT
    return case.again(case.actions(symmetry), mean, case.f_matrix[:, case.measured], case.sigma)


def check_equivariance(risk, case, symmetry, repeats=200):
    expected = equivariance_in_expectation(case, symmetry)

    def value(r):
        y = case.measure(make_generator(case.x.device, 11, r, 1))
        return risk(case.f, y, case.sigma, make_generator(case.x.device, 11, r, 2))

    check_ratio(value, lambda r: expected, repeats, "equivariant imaging over its closed form")


@pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])
@pytest.mark.parametrize("detach", [True, False])
def test_equivariance_of_a_linear_estimator(detach, symmetry, device):
    case = LinearCase(device)
    check_equivariance(Equivariance(symmetry, case.problem, detach), case, symmetry)


def seen_in_expectation(case, symmetry):
    """E |A T_g^T (z - F (A z + s w))|^2 / m (B,) of z = T_g u, over all elements, by dense matrices."""
    t = case.actions(symmetry)
    judge = case.a @ t.mT  # (|G|, M, N)
    error = judge @ (torch.eye(N).to(t) - case.f_matrix @ case.a) @ t
    mean = case.x.flatten(1) @ (case.f_matrix @ case.a).mT
    kept = case.f_matrix[:, case.measured]
    signal = (error @ mean.mT).square().sum(1).mean(0)
    noise = (error @ kept).square().sum((1, 2)).mean() + (judge @ kept).square().sum((1, 2)).mean()
    return (signal + case.sigma**2 * noise) / case.measured.sum()


@pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])
def test_equivariance_judged_where_it_was_seen(symmetry, device):
    case = LinearCase(device)
    expected = seen_in_expectation(case, symmetry)
    ratio = expected / equivariance_in_expectation(case, symmetry)
    assert float((ratio - 1).abs().min()) > 0.1, "the other formula is another number"

    def value(risk):
        def of(r):
            y = case.measure(make_generator(device, 11, r, 1))
            return risk(case.f, y, case.sigma, make_generator(device, 11, r, 2))

        return of

    check_ratio(value(Equivariance(symmetry, case.problem, seen=True)), lambda r: expected, 200, "seen part")
    with pytest.raises(Biased):
        check_ratio(value(Equivariance(symmetry, case.problem)), lambda r: expected, 200, "seen part")


def test_equivariance_where_it_was_seen_says_nothing_of_the_rest(device):
    """An f that errs only where A saw nothing of T_g^-1 x has no error, and a gradient of zero."""
    keep = torch.zeros(4, 6, dtype=torch.float64, device=device)
    keep[:, :3] = 1  # the left half; a flip turns it into the right one
    problem = inpainting(keep)
    x_hat = torch.rand(5, 1, 4, 6, generator=make_generator(device, 1), dtype=torch.float64, device=device)
    shift = torch.ones((), dtype=torch.float64, device=device, requires_grad=True)

    class Mirror(Flip):
        def draw(self, x, generator):
            g = super().draw(x, generator)
            return self.elements(x.shape[1:]).to(g)[-1].expand_as(g)

    mirror = Mirror()
    unseen = 1 - mirror.apply(keep.expand(5, 1, 4, 6), mirror.draw(x_hat, make_generator(device, 2)))
    calls = []

    def f(y, sigma):
        calls.append(y)
        g = mirror.draw(x_hat, make_generator(device, 2))
        return x_hat if len(calls) % 2 else mirror.apply(x_hat, g) + shift * unseen

    none = torch.zeros(5, dtype=torch.float64, device=device)
    y = problem.predict(x_hat)
    value = Equivariance(mirror, problem, seen=True)(f, y, none, make_generator(device, 3))
    assert float(value.detach().abs().max()) < 1e-24
    (gradient,) = torch.autograd.grad(value.sum(), shift)
    assert float(gradient.abs()) < 1e-12
    assert float(Equivariance(mirror, problem)(f, y, none, make_generator(device, 3)).detach().min()) > 0.4


class WrongEquivariance(Equivariance):
    def __init__(self, mistake, symmetry, problem):
        super().__init__(symmetry, problem)
        self.mistake = mistake

    def __call__(self, f, y, sigma, generator):
        x, mistake = f(y, sigma), self.mistake
        if mistake != "no action":
            x = self.symmetry.transform(x, generator)
        u = self.problem.predict(x)
        w = normal(u, generator)
        if mistake == "the noise of y again":
            w = (y - self.problem.predict(f(y, sigma))) / expand(sigma, y)
        if mistake == "noise where nothing is measured":
            again = u + expand(sigma, u) * w
        elif mistake == "columns":
            again = u + self.problem.project(sigma * w)
        else:
            again = self.corrupt(u, 0 * sigma if mistake == "no noise" else sigma, w)
        square = (f(again, sigma) - x).square().flatten(1)
        return square.sum(1) / (y[0].numel() if mistake == "divided by m" else square.shape[1])


def test_equivariance_rewritten_is_right_without_a_mistake(device):
    case = LinearCase(device)
    check_equivariance(WrongEquivariance(None, Flip(), case.problem), case, Flip())


@pytest.mark.parametrize(
    "mistake",
    ["no action", "no noise", "the noise of y again", "noise where nothing is measured", "columns", "divided by m"],
)
def test_wrong_equivariances_are_rejected(mistake, device):
    case = LinearCase(device)
    with pytest.raises(Biased):
        check_equivariance(WrongEquivariance(mistake, Flip(), case.problem), case, Flip())


@pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])
@pytest.mark.parametrize("detach", [True, False])
def test_equivariance_of_a_consistent_estimator_is_zero(detach, symmetry, device):
    """f(A z) = z for all z, without noise; and f that knows the only signal, which the group leaves as it is."""
    a = random(device, N, N, key=5) / N**0.5 + 2 * torch.eye(N, dtype=torch.float64, device=device)
    problem, inverse = Problem(Matrix(a), None, IMAGE, (1, 1, N)), torch.linalg.inv(a)
    risk = Equivariance(symmetry, problem, detach)
    y, none = random(device, 5, 1, 1, N, key=6), torch.zeros(5, dtype=torch.float64, device=device)

    def exact(y, sigma):
        return (y.flatten(1) @ inverse.mT).reshape(len(y), *IMAGE)

    assert risk(exact, y, none, make_generator(device, 1)).max() < 1e-20
    assert risk(lambda y, s: 1.01 * exact(y, s), y, none, make_generator(device, 1)).min() > 1e-6
    case = LinearCase(device)
    known = torch.full_like(case.x, 0.3)
    value = Equivariance(symmetry, case.problem, detach)
    assert (
        value(lambda y, s: known, case.measure(make_generator(device, 2)), case.sigma, make_generator(device, 1))
        .eq(0)
        .all()
    )


def square_matrices(device, count):
    """Each sample's own operator, invertible, on one shape."""
    a = random(device, count, N, N, key=5) / N**0.5 + 2 * torch.eye(N, dtype=torch.float64, device=device)
    return Several({"a": a}, lambda a: Problem(Matrix(a), None, IMAGE, (1, 1, N)))


def inverse(y, sigma, part):
    """x_hat of the operator that f is told, whatever the noise; and which one that was is kept."""
    return torch.linalg.solve(part.operator.a, y.flatten(1)).reshape(len(y), *IMAGE)


@pytest.mark.parametrize("detach", [True, False])
def test_virtual_measurements_are_made_and_read_with_the_other_operator(detach, device):
    """An f that inverts the operator it is told is consistent for every pair of operators; with the wrong one it is not."""
    problem, which = square_matrices(device, 5), torch.tensor([3, 0, 4, 1], device=device)
    y, none = random(device, 4, 1, 1, N, key=6), torch.zeros(4, dtype=torch.float64, device=device)
    told_of = []

    def f(y, sigma, part):
        told_of.append(part.operator.a)
        return inverse(y, sigma, part)

    risk = Each(problem, lambda own, other: Equivariance(Flip(), own, detach, other))
    assert risk(f, y, none, which, make_generator(device, 1)).max() < 1e-20
    a = problem.parameters["a"]
    assert torch.equal(told_of[0], a[which])
    assert torch.equal(told_of[1], a[which.roll(1)])

    def deaf(y, sigma, part):
        return inverse(y, sigma, problem.at(which))

    assert risk(deaf, y, none, which, make_generator(device, 1)).min() > 1e-3


@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_of_equivariance_flows_through_one_pass_only_when_detached(detach, device):
    case = LinearCase(device)
    gains = [torch.ones((), dtype=torch.float64, device=device, requires_grad=True) for _ in range(2)]
    inputs = []

    def f(y, sigma):
        inputs.append(y)
        return gains[len(inputs) - 1] * case.f(y, sigma)  # each pass has a weight of its own

    risk = Equivariance(Flip(), case.problem, detach)
    value = risk(f, case.measure(make_generator(device, 1)), case.sigma, make_generator(device, 2)).mean()
    first, second = torch.autograd.grad(value, gains, allow_unused=True)
    assert len(inputs) == 2
    assert second.abs() > 1e-3
    if detach:
        assert first is None
        assert not inputs[1].requires_grad
    else:
        assert first.abs() > 1e-3
    assert risk.passes == (4 / 3 if detach else 2)
    assert torch.is_grad_enabled()


def test_equivariance_draws_fresh_noise_and_elements_at_each_call(device):
    case = LinearCase(device)
    y = case.measure(make_generator(device, 1))
    clean_y = case.problem.predict(case.x)
    noise, seconds = [], []

    def f(y, sigma):
        noise.append(y)
        return case.x  # T_g x is all that the second input has of a signal

    same = Equivariance(Flip(), case.problem)
    for seed in (1, 1, 2, 3):
        noise.clear()
        same(f, y, case.sigma, make_generator(device, seed))
        seconds.append(noise[1])
    assert torch.equal(seconds[0], seconds[1])
    assert not torch.equal(seconds[0], seconds[2])
    products, scale = [], expand(case.sigma, y)

    def symmetric(y, sigma):
        noise.append(y)
        return torch.full_like(case.x, 0.4)

    for seed in range(150):
        noise.clear()
        y = case.measure(make_generator(device, 20, seed))
        same(symmetric, y, case.sigma, make_generator(device, 21, seed))
        w = (noise[1] - case.problem.predict(torch.full_like(case.x, 0.4))) / scale
        assert torch.equal(w != 0, case.problem.project(torch.ones_like(w)) > 0)
        products.append(case.problem.inner(w, (y - clean_y) / scale))
    check_zero(torch.stack(products), "the new noise and that of y", sensitivity=0.03)


# --- a network that does not know how the image is turned


class Uneven:
    """f(y, sigma, problem) = A^T y + sigma y_0 c with a fixed image c: it prefers an orientation."""

    def __init__(self, device):
        self.c = random(device, 1, *IMAGE, key=30)
        self.problems = []

    def __call__(self, y, sigma, problem):
        self.problems.append(problem)
        return problem.adjoint(y) + expand(sigma * y[:, 0, 0, 0], y) * self.c


@pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])
def test_symmetrize_turns_the_problem_and_the_estimate_back(symmetry, device):
    """f_g(y) = T_g f(y; A T_g) sample by sample: T_g T_g^T A^T y = A^T y, and c is turned."""
    case, f, outputs = LinearCase(device), Uneven(device), []

    class Keep(MeasurementConsistency):
        def __call__(self, f, y, sigma, generator):
            outputs.append(f(y, sigma))
            return super().__call__(f, y, sigma, generator)

    y = case.measure(make_generator(device, 1))
    value = Symmetrize(Keep(case.problem), symmetry)(f, y, case.sigma, make_generator(device, 2))
    g = symmetry.draw(case.x, make_generator(device, 2))
    turned = symmetry.apply(f.c.expand_as(case.x), g)
    expected = case.problem.adjoint(y) + expand(case.sigma * y[:, 0, 0, 0], y) * turned
    torch.testing.assert_close(outputs[0], expected, rtol=0, atol=1e-12)
    assert (turned != f.c).flatten(1).any(1).sum() > M / 2
    residual = case.problem.project(y) - case.problem.predict(expected)
    torch.testing.assert_close(value, case.problem.inner(residual, residual))
    told_of = f.problems[0]
    told_of.check_adjoint(y, make_generator(device, 3), tolerance=1e-10)
    torch.testing.assert_close(told_of.predict(case.x), case.problem.predict(symmetry.apply(case.x, g)))
    assert told_of.measured is case.problem.measured
    assert told_of.image_shape == IMAGE


def test_symmetrized_splitting_is_unbiased(device):
    """A risk of f_g is one of whatever f_g is: at each draw of g, and of what is hidden."""
    case, f, rows = LinearCase(device), Uneven(device), []
    symmetry = Flip()

    class Keep(SURE):
        def __call__(self, f, y, sigma, generator):
            value = super().__call__(f, y, sigma, generator)
            error = self.problem.predict(f(y, sigma) - case.x)
            self.d = (value - self.problem.inner(error, error)) / sigma**2
            return value

    base = Keep(problem=case.problem)
    risk = Symmetrize(Hide(base, 0.3, keep=0.3, axes=(-1,)), symmetry)
    for r in range(200):
        y = case.measure(make_generator(device, 40, r, 1))
        risk(f, y, case.sigma, make_generator(device, 40, r, 2))
        rows.append(base.d)
    check_zero(torch.stack(rows), "splitting of a turned problem", sensitivity=0.1)
    assert risk.passes == 2


def test_gradients_flow_through_the_turned_problem(device):
    case = LinearCase(device)
    gain = torch.ones((), dtype=torch.float64, device=device, requires_grad=True)

    def f(y, sigma, problem):  # a step towards the data from an image that is learned
        x = gain * torch.ones_like(case.x)
        return x + problem.adjoint(y - problem.predict(x))

    y = case.measure(make_generator(device, 1))

    def value():
        risk = Symmetrize(MeasurementConsistency(case.problem), Shift())
        return risk(f, y, case.sigma, make_generator(device, 2)).sum()

    (gradient,) = torch.autograd.grad(value(), gain)
    with torch.no_grad():
        low, high = (value() for step in (-1e-4, 2e-4) if gain.add_(step) is not None)
    torch.testing.assert_close(gradient, (high - low) / 2e-4, rtol=1e-6, atol=1e-8)


# --- draws measured again


def check_simulated(risk, case, weight, symmetry, repeats=200):
    t = torch.eye(N).to(case.x)[None] if symmetry is None else case.actions(symmetry)
    nothing = torch.zeros(N, 1).to(case.x)
    levels = []

    def f(y, sigma):
        levels.append(sigma)
        return case.f(y, sigma)

    def value(r):
        return risk(f, case.x, torch.full_like(case.sigma, 1e3), make_generator(case.x.device, 13, r))

    def expected(r):
        s = levels[-1]
        return weight(s) * case.again(t, case.x.flatten(1), nothing, s)

    d = check_ratio(value, expected, repeats, "simulated measurements over their closed form")
    drawn = torch.stack(levels).log()  # of LogUniform(0.1, 0.4)
    check_zero(d * (drawn - drawn.mean()), "the same where the levels are high or low", sensitivity=0.03)
    z = (drawn.mean() - (torch.tensor(0.1).log() + torch.tensor(0.4).log()) / 2) / (drawn.std() / drawn.numel() ** 0.5)
    assert abs(z) < 4
    assert 0.1 <= drawn.exp().min() < 0.11 < 0.39 < drawn.exp().max() <= 0.4 + 1e-9


def simulated_weight(s):
    return 1 / (s**2 + 0.3**2)


@pytest.mark.parametrize("symmetry", [None, Flip(), Shift()], ids=["none", "flip", "shift"])
def test_simulated_is_the_supervised_risk_of_a_linear_estimator(symmetry, device):
    case = LinearCase(device)
    risk = Simulated(case.problem, LogUniform(0.1, 0.4), simulated_weight, symmetry)
    check_simulated(risk, case, simulated_weight, symmetry)
    assert risk.passes == 1


class WrongSimulated(Simulated):
    def __init__(self, mistake, *arguments):
        super().__init__(*arguments)
        self.mistake = mistake

    def __call__(self, f, y, sigma, generator):
        mistake = self.mistake
        x = self.symmetry.transform(y, generator)
        s = self.level(sigma, generator)
        u = self.problem.predict(y if mistake == "x measured, T x wanted" else x)
        w = normal(u, generator)
        added = s * w if mistake == "columns" else expand(s, u) * w
        if mistake == "no noise":
            added = 0 * added
        x_hat = f(u + (added if mistake == "noise where nothing is measured" else self.problem.project(added)), s)
        square = (x_hat - x).square().flatten(1).mean(1)
        return square if mistake == "no weight" else self.weight(s) * square


def test_simulated_rewritten_is_right_without_a_mistake(device):
    case = LinearCase(device)
    risk = WrongSimulated(None, case.problem, LogUniform(0.1, 0.4), simulated_weight, Flip())
    check_simulated(risk, case, simulated_weight, Flip())


@pytest.mark.parametrize(
    "mistake", ["x measured, T x wanted", "no noise", "columns", "noise where nothing is measured", "no weight"]
)
def test_wrong_simulations_are_rejected(mistake, device):
    case = LinearCase(device)
    risk = WrongSimulated(mistake, case.problem, LogUniform(0.1, 0.4), simulated_weight, Flip())
    with pytest.raises(Biased):
        check_simulated(risk, case, simulated_weight, Flip())


# --- each measurement its own operator


def several(device, count=7):
    """Measurements by `count` dense operators of their own, on masks of their own."""
    a = random(device, count, M, N, key=20) / N**0.5
    keep = torch.rand(count, 1, 1, M, generator=make_generator(device, 21), device=device) < 0.7

    def make(a, keep):
        return Problem(Matrix(a), keep, IMAGE, (1, 1, M))

    return Several({"a": a, "keep": keep}, make)


def back_projection(y, sigma, problem):
    """An f that is told: A^T y, and more of it at lower levels."""
    return expand(1 / (1 + sigma), y) * problem.adjoint(y)


EACH = {
    "consistency": lambda problem, _=None: MeasurementConsistency(problem),
    "hidden entries": lambda problem, _=None: HiddenEntries(problem, 0.4),  # hides the same places in all samples
    "splitting": lambda problem, _=None: Hide(MeasurementConsistency(problem), 0.4, keep=0.0),
}


@pytest.mark.parametrize("name", ["consistency", "hidden entries"])
def test_each_sample_is_judged_through_its_own_operator(name, device):
    problem, which = several(device), torch.tensor([3, 0, 5, 3, 6], device=device)
    y = random(device, 5, 1, 1, M, key=22)
    sigma = torch.linspace(0.1, 0.5, 5, dtype=torch.float64, device=device)
    risk = Each(problem, EACH[name])
    value = risk(back_projection, y, sigma, which, make_generator(device, 1))
    assert value.shape == (5,)
    for b, i in enumerate(which.tolist()):
        a, keep = problem.parameters["a"][i], problem.parameters["keep"][i]
        alone = Problem(Matrix(a), keep, IMAGE, (1, 1, M))

        def f(y, sigma, part=alone):
            return back_projection(y, sigma, part)

        expected = EACH[name](alone)(f, y[b : b + 1], sigma[b : b + 1], make_generator(device, 1))
        torch.testing.assert_close(value[b : b + 1], expected, rtol=1e-12, atol=1e-12)
    order = risk(back_projection, y, sigma, which.roll(1), make_generator(device, 1))
    assert not torch.isclose(order, value).any(), "with the operator of another sample it is another number"


def test_each_hands_the_hidden_part_of_each_sample_on(device):
    problem, which = several(device), torch.tensor([3, 0, 5, 3, 6], device=device)
    y, parts = random(device, 5, 1, 1, M, key=22), []

    def f(y, sigma, part):
        parts.append((y, part))
        return back_projection(y, sigma, part)

    Each(problem, EACH["splitting"])(f, y, torch.ones(5, device=device), which, make_generator(device, 1))
    ((y_in, part),) = parts
    keep = problem.parameters["keep"][which]
    assert part.measured.shape == keep.shape
    assert not (part.measured & ~keep).any()
    assert (part.measured != keep).flatten(1).any(1).all()
    assert torch.equal(y_in, torch.where(part.measured, y, 0.0))
    assert torch.equal(part.operator.a, problem.parameters["a"][which])


def test_each_of_one_operator_is_the_plain_risk(device):
    case = LinearCase(device)
    y = case.measure(make_generator(device, 1))
    risk = Each(case.problem, EACH["hidden entries"])
    value = risk(back_projection, y, case.sigma, torch.zeros(M, dtype=torch.long), make_generator(device, 2))
    plain = EACH["hidden entries"](case.problem)(
        lambda y, s, part: back_projection(y, s, part), y, case.sigma, make_generator(device, 2)
    )
    assert torch.equal(value, plain)


def test_told(device):
    case, heard = LinearCase(device), []

    def f(y, sigma, problem=None):
        heard.append(problem)
        return y

    assert told(f, DENOISING) is f
    assert told(f, Problem(None, torch.ones(3, dtype=torch.bool))) is f
    g, part = told(f, case.problem), case.problem.restrict(case.measured)
    g(case.x, 0.1)
    g(case.x, 0.1, part)
    assert heard[0] is case.problem
    assert heard[1] is part


def test_whole_columns_are_hidden_where_whole_columns_are_missed(device):
    """And of a mask with few columns at least one is hidden, so that the figure is finite."""
    columns = torch.tensor([True, False, False, True, False, False, False, True], device=device).expand(6, 8)[
        None, None
    ]
    pixels = torch.rand(1, 1, 6, 8, generator=make_generator("cpu", 0)).to(device) < 0.7
    assert hidden_axes(Problem(None, columns)) == (-1,)
    assert hidden_axes(Problem(None, pixels)) == (-2, -1)
    assert hidden_axes(DENOISING) == (-2, -1)
    y = torch.ones(2, 1, 6, 8, device=device) * columns
    for seed in range(30):
        seen = []

        def f(y, sigma, part, seen=seen):
            seen.append(part.project(torch.ones_like(y)))
            return y

        value = HiddenEntries(Problem(None, columns), 0.01)(
            f, y, torch.ones(2, device=device), make_generator(device, seed)
        )
        assert value.isfinite().all()
        missing = columns.float() - seen[0][:1]
        assert (missing == missing[..., :1, :]).all()
        assert missing.sum() >= 6


def test_an_affine_symmetry_cannot_turn_an_operator():
    with pytest.raises(UnveilError, match="affine"):
        Symmetrize(SURE(), make_symmetry(["amplitude"]))


def test_each_dilates_the_measurements_of_fourier_coefficients():
    """With k the risk is the recipe's of the low frequencies, at level sigma / k; k is drawn with equal odds."""
    masks = torch.stack([cartesian_mask(8, 8, 2, 0.3, make_generator("cpu", 5, i)) for i in range(5)])
    problem, which = mri(masks), torch.tensor([3, 0, 4], dtype=torch.long)
    y, sigma = torch.randn(3, 2, 8, 8, generator=make_generator("cpu", 3)), torch.tensor([0.1, 0.2, 0.3])
    heard = []

    def recipe(part, virtual):
        heard.append((part.image_shape, virtual.measured))
        return MeasurementConsistency(part)

    def f(y, sigma, part):
        return part.adjoint(y) * sigma.reshape(-1, 1, 1, 1)

    def value(dilation, key):
        return Each(problem, recipe, dilation)(f, y, sigma, which, make_generator("cpu", key))

    part = problem.at(which)
    coarser = part.coarser(2)
    coarse = MeasurementConsistency(coarser.problem)(
        lambda y, s: f(y, s, coarser.problem), coarser.take(y), sigma / 2, make_generator("cpu", 0)
    )
    fine = MeasurementConsistency(part)(lambda y, s: f(y, s, part), y, sigma, make_generator("cpu", 0))
    torch.testing.assert_close(value((2,), 0), coarse)
    assert heard[-1][0] == (2, 4, 4)
    assert torch.equal(heard[-1][1], problem.at(which.roll(1)).coarser(2).problem.measured)
    drawn = [torch.allclose(value((1, 2), key), coarse) for key in range(200)]
    assert abs(sum(drawn) / 200 - 0.5) < 4 * 0.5 / 200**0.5
    assert not torch.allclose(fine, coarse)
