"""Equivariant imaging: against closed forms of linear estimators, for Gaussian noise and counts; and wrong ones are
rejected."""

from dataclasses import replace

import pytest
import torch
from dense import IMAGE, LinearCase, Matrix, N, check_ratio, random
from loss_statistics import Biased, check_zero, mean_over

from unveil.losses import Equivariance
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gaussian
from unveil.operators import Identity, inpainting
from unveil.random import make_generator
from unveil.shapes import expand
from unveil.symmetry import Flip, Shift

SYMMETRIES = pytest.mark.parametrize("symmetry", [Flip(), Shift()], ids=["flip", "shift"])
both_families = pytest.mark.parametrize("family", NOISES)
SILENT = 1e-12
"""A level of noise that does not count."""


def in_expectation(case, symmetry, seen=False):
    """The mean of the loss: of x_hat of mean F A x and covariance F var(y) F^T, measured again."""
    mean = case.signal @ (case.F @ case.A).mT
    return case.again(symmetry, mean, case.variance(case.noise, case.signal), case.noise, seen)


def check_equivariance(loss, case, symmetry, seen=False, sensitivity=0.04, repeats=120):
    expected = in_expectation(case, symmetry, seen)

    def value(r):
        m = case.measure(make_generator(case.x.device, 11, r, 1))
        return loss(case.f, m, make_generator(case.x.device, 11, r, 2))

    check_ratio(value, lambda r: expected, repeats, "equivariant imaging over its closed form", sensitivity)


@both_families
@SYMMETRIES
@pytest.mark.parametrize("detach", [True, False])
def test_the_mean_of_a_linear_estimator(detach, symmetry, family, device):
    check_equivariance(Equivariance(symmetry, detach), LinearCase(device, family), symmetry)


@both_families
@SYMMETRIES
def test_judged_where_it_was_seen(symmetry, family, device):
    case = LinearCase(device, family)
    ratio = in_expectation(case, symmetry, seen=True) / in_expectation(case, symmetry)
    assert float((ratio - 1).abs().min()) > 0.1, "the other formula is another number"
    check_equivariance(Equivariance(symmetry, seen=True), case, symmetry, seen=True)
    with pytest.raises(Biased):
        check_equivariance(Equivariance(symmetry), case, symmetry, seen=True, sensitivity=1e9)


def test_where_it_was_seen_says_nothing_of_the_rest(device):
    """An f that errs only where A saw nothing of T_g^-1 x has no error, and a gradient of zero."""
    keep = torch.zeros(4, 6, dtype=torch.float64, device=device)
    keep[:, :3] = 1  # the left half; a flip turns it into the right one
    operator = inpainting(keep)
    x_hat = torch.rand(5, 1, 4, 6, generator=make_generator(device, 1), dtype=torch.float64, device=device)
    shift = torch.ones((), dtype=torch.float64, device=device, requires_grad=True)

    class Mirror(Flip):
        def draw(self, x, generator):
            g = super().draw(x, generator)
            return self.elements(x.shape[1:]).to(g)[-1].expand_as(g)

    mirror = Mirror()
    g = mirror.draw(x_hat, make_generator(device, 2))
    unseen = 1 - mirror.apply(keep.expand(5, 1, 4, 6), g)
    calls = []

    def f(m):
        calls.append(m)
        return x_hat if len(calls) % 2 else mirror.apply(x_hat, g) + shift * unseen

    m = Measurement(operator.A(x_hat), operator, Gaussian(SILENT))
    value = Equivariance(mirror, seen=True)(f, m, make_generator(device, 3))
    assert float(value.detach().abs().max()) < 1e-24
    (gradient,) = torch.autograd.grad(value.sum(), shift)
    assert float(gradient.abs()) < 1e-12
    assert float(Equivariance(mirror)(f, m, make_generator(device, 3)).detach().min()) > 0.4


@SYMMETRIES
@pytest.mark.parametrize("seen", [False, True])
def test_images_that_cannot_be_negative(seen, symmetry, device):
    """The target is then max(f(y), 0); f on its virtual measurement stays as it is, so that it is taught not to be."""
    case = LinearCase(device, "gaussian")
    m = case.measure(make_generator(device, 1))
    x_hat = case.f(m)
    assert 0.05 < float((x_hat < 0).double().mean()) < 0.95

    def value(loss, target):
        return loss(lambda some: target if some is m else case.f(some), m, make_generator(device, 2))

    known, plain = (Equivariance(symmetry, seen=seen, nonnegative=n) for n in (True, False))
    torch.testing.assert_close(value(known, x_hat), value(plain, x_hat.clamp(min=0)))
    torch.testing.assert_close(value(known, x_hat.abs()), value(plain, x_hat.abs()))
    assert not torch.allclose(value(known, x_hat), value(plain, x_hat), rtol=0.01)


class WrongEquivariance(Equivariance):
    """Rewritten, the way that mistakes are made in."""

    def __init__(self, mistake, symmetry):
        super().__init__(symmetry)
        self.mistake = mistake

    def __call__(self, f, m, generator):
        x, mistake = f(m), self.mistake
        if mistake != "no action":
            x = self.symmetry.transform(x, generator)
        u = m.operator.A(x)
        again = m.noise.sample(u, generator)
        if mistake == "no noise":
            again = u
        if mistake == "the noise of y again":
            again = u + m.y - m.operator.A(f(m))
        if mistake == "columns":
            parameter = next(iter(vars(m.noise).values()))
            again = u + (again - u) / expand(parameter, u) * parameter
        if mistake == "another exposure":
            again = m.noise.exposed(0.5).sample(u, generator)
        square = (f(replace(m, y=again)) - x).square().flatten(1)
        return square.sum(1) / (m.y[0].numel() if mistake == "divided by m" else square.shape[1])


@both_families
@pytest.mark.parametrize(
    "mistake", [None, "no action", "no noise", "the noise of y again", "columns", "another exposure", "divided by m"]
)
def test_wrong_ones_are_rejected(mistake, family, device):
    case = LinearCase(device, family)
    if mistake is None:
        return check_equivariance(WrongEquivariance(None, Flip()), case, Flip())
    repeats = 600 if mistake == "the noise of y again" else 120  # of single samples' means alone it is seen
    with pytest.raises(Biased):
        check_equivariance(WrongEquivariance(mistake, Flip()), case, Flip(), sensitivity=1e9, repeats=repeats)


def invertible(device, count):
    return random(device, count, N, N, key=5) / N**0.5 + 2 * torch.eye(N, dtype=torch.float64, device=device)


def invert(m):
    """x_hat of the operator that f is told, whatever the noise."""
    return torch.linalg.solve(m.operator.a, m.y.flatten(1)[..., None])[..., 0].reshape(len(m), *IMAGE)


@SYMMETRIES
@pytest.mark.parametrize("detach", [True, False])
def test_a_consistent_estimator_has_none(detach, symmetry, device):
    """f(A z) = z for all z, without noise; and f that knows the only signal, which the group leaves as it is."""
    loss = Equivariance(symmetry, detach)
    m = Measurement(random(device, 5, 1, 1, N, key=6), Matrix(invertible(device, 1)), Gaussian(SILENT))
    assert loss(invert, m, make_generator(device, 1)).max() < 1e-20
    assert loss(lambda m: 1.01 * invert(m), m, make_generator(device, 1)).min() > 1e-6
    case = LinearCase(device)
    known = torch.full_like(case.x, 0.3)
    assert loss(lambda m: known, case.measure(make_generator(device, 2)), make_generator(device, 1)).eq(0).all()


@pytest.mark.parametrize("detach", [True, False])
def test_virtual_measurements_are_made_and_read_with_the_other_operator(detach, device):
    """An f that inverts the operator it is told is consistent for every pair of operators; with the wrong one it is
    not."""
    operator = Matrix(invertible(device, 5)).select(torch.tensor([3, 0, 4, 1], device=device))
    m = Measurement(random(device, 4, 1, 1, N, key=6), operator, Gaussian(SILENT))
    told = []

    def f(m):
        told.append(m.operator.a)
        return invert(m)

    loss = Equivariance(Flip(), detach)
    assert loss(f, m, make_generator(device, 1)).max() < 1e-20
    assert torch.equal(told[0], operator.a)
    assert torch.equal(told[1], operator.a.roll(1, 0))
    deaf = lambda other: invert(replace(other, operator=operator))  # noqa: E731
    assert loss(deaf, m, make_generator(device, 1)).min() > 1e-3


@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_flows_through_one_pass_only_when_detached(detach, device):
    case = LinearCase(device)
    gains = [torch.ones((), dtype=torch.float64, device=device, requires_grad=True) for _ in range(2)]
    inputs = []

    def f(m):
        inputs.append(m.y)
        return gains[len(inputs) - 1] * case.f(m)  # each pass has a weight of its own

    value = Equivariance(Flip(), detach)(f, case.measure(make_generator(device, 1)), make_generator(device, 2)).mean()
    first, second = torch.autograd.grad(value, gains, allow_unused=True)
    assert len(inputs) == 2
    assert second.abs() > 1e-3
    if detach:
        assert first is None
        assert not inputs[1].requires_grad
    else:
        assert first.abs() > 1e-3
    assert torch.is_grad_enabled()


def test_noise_and_elements_are_drawn_anew_at_each_call(device):
    case = LinearCase(device)
    inputs, loss = [], Equivariance(Flip())

    def second_input(x, m, seed):
        inputs.clear()
        loss(lambda m: (inputs.append(m.y), x)[1], m, make_generator(device, *seed))
        return inputs[1]

    m = case.measure(make_generator(device, 1))
    a, b, c = (second_input(case.x, m, (seed,)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    clean, even = case.operator.A(case.x), torch.full_like(case.x, 0.4)
    products, scale = [], expand(case.noise.sigma, clean)
    for seed in range(150):
        m = case.measure(make_generator(device, 20, seed))
        w = (second_input(even, m, (21, seed)) - case.operator.A(even)) / scale
        assert torch.equal((w != 0).flatten(1), case.keep.expand(len(m), -1))
        products.append(mean_over(case.operator, w * (m.y - clean) / scale))
    check_zero(torch.stack(products), "the new noise and that of y", sensitivity=0.03)


def test_where_all_is_seen_there_is_nothing_to_learn(device, dtype):
    """And no pass of the network is spent on it."""
    m = Measurement(torch.rand(3, 1, 4, 4, device=device, dtype=dtype), Identity(), Gaussian(0.1))
    assert Equivariance(Flip())(None, m, make_generator(device, 1)).tolist() == [0.0] * 3
