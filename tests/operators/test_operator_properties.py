"""What holds for every operator: its adjoint, shapes, batches, precisions, gradients, pseudo-inverse, and measured entries."""

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from cases import CASES

from unveil.errors import UnveilError
from unveil.estimators.reconstruction import regularised_inverse
from unveil.noise import Gaussian
from unveil.operators.build import BUILDERS
from unveil.problem import Inverting, Problem, Several
from unveil.random import make_generator, normal
from unveil.systems import System

DOUBLE = torch.float64
EVERY = pytest.mark.parametrize("name", CASES)

BACK_PROJECTION = "filtered back-projection: A^+ takes many iterations and enhances the noise more"
ZERO_FILLED = (
    "zero-filled: A^+ of some frequencies and several coils takes hundreds of iterations and enhances the noise"
)

NO_PSEUDO_INVERSE: dict[str, str] = {
    "tomography, the whole square": BACK_PROJECTION,
    "tomography, the axis beside the middle": BACK_PROJECTION,
    "tomography, a round field of view": BACK_PROJECTION,
    "mri, several coils": ZERO_FILLED,
    "mri, several coils, masks and coils per image": ZERO_FILLED,
}
"""name -> why A_dagger is not A^+."""

EMPTY_ROWS: dict[str, str] = {
    "tomography, the whole square": "some rays miss the image: what their detectors measure is noise, and counts",
    "tomography, the axis beside the middle": "some rays miss the image",
    "tomography, a round field of view": "the outermost rays touch the circle between two pixels",
}
"""name -> why A x is zero on measured entries."""


def rows(problem):
    """The numbers of three measurements, not in order."""
    count = len(problem) if isinstance(problem, Several) else 3
    return torch.tensor([count - 1, 0, 1 % count])


def make(name, device, dtype=DOUBLE, seed=0):
    """The problem of three measurements, x of its images and v of its measurements."""
    problem = CASES[name]()
    problem = problem.at(rows(problem).to(device))
    generator = make_generator(device, seed)
    like = {"dtype": dtype, "device": device}
    x = normal(torch.empty(3, *problem.image_shape, **like), generator)
    return problem, x, normal(torch.empty(3, *problem.measurement_shape, **like), generator)


def close(a, b, tolerance=1e-10):
    assert a.shape == b.shape
    assert float((a - b).norm()) <= tolerance * float(b.norm())


@EVERY
def test_shapes(name, device):
    problem, x, v = make(name, device)
    assert isinstance(problem, Problem)
    assert problem.predict(x).shape == v.shape
    assert problem.adjoint(v).shape == x.shape
    assert problem.pseudo_inverse(v).shape == x.shape
    assert x.ndim == v.ndim == 4
    case = CASES[name]()
    assert (case.image_shape, case.measurement_shape) == (problem.image_shape, problem.measurement_shape)


@EVERY
def test_adjoint(name, device):
    problem, x, v = make(name, device)
    y = problem.predict(x)
    gap = (y * v).sum() - (x * problem.adjoint(v)).sum()
    assert abs(float(gap)) <= 1e-10 * float(y.norm() * v.norm())
    assert float(y.norm()) > 0.01 * float(x.norm())


@EVERY
def test_linear(name, device):
    problem, x, v = make(name, device)
    _, x_2, v_2 = make(name, device, seed=1)
    close(problem.predict(2 * x - 0.5 * x_2), 2 * problem.predict(x) - 0.5 * problem.predict(x_2))
    close(problem.adjoint(2 * v - 0.5 * v_2), 2 * problem.adjoint(v) - 0.5 * problem.adjoint(v_2))


@EVERY
def test_each_sample_of_a_batch_as_if_alone(name, device):
    problem, x, v = make(name, device)
    every = CASES[name]()
    which = rows(every).to(device)
    forward, back = problem.predict(x), problem.adjoint(v)
    for b in range(3):
        alone = every.at(which[b : b + 1])
        close(forward[b : b + 1], alone.predict(x[b : b + 1]))
        close(back[b : b + 1], alone.adjoint(v[b : b + 1]))


@pytest.mark.parametrize("name", [name for name in CASES if isinstance(CASES[name](), Several)])
def test_several_operators_differ(name, device):
    problem, x, v = make(name, device)
    x, v = x[:1].expand_as(x), v[:1].expand_as(v)
    for out in (problem.predict(x), problem.adjoint(v)):
        assert float((out[0] - out[1]).norm()) > 0.01 * float(out[0].norm())


@EVERY
def test_precision_and_device(name, device):
    problem, x, v = make(name, device)
    for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 1e-5), (DOUBLE, 1e-12)):  # an operator keeps no precision
        for apply, exact in ((problem.predict, x), (problem.adjoint, v)):
            out = apply(exact.to(dtype))
            assert out.dtype == dtype
            assert out.device.type == device.type
            close(out.double(), apply(exact), tolerance)
        assert problem.pseudo_inverse(v.to(dtype)).dtype == dtype


@EVERY
def test_gradients(name, device):
    problem, x, v = make(name, device)
    x.requires_grad_(), v.requires_grad_()
    (gradient,) = torch.autograd.grad((problem.predict(x) * v.detach()).sum(), x)
    close(gradient, problem.adjoint(v.detach()))
    (gradient,) = torch.autograd.grad((problem.adjoint(v) * x.detach()).sum(), v)
    close(gradient, problem.predict(x.detach()))


@EVERY
def test_pseudo_inverse(name, device):
    """A A^+ A = A, and A^+ A is symmetric: A^+ y has no part in the null space of A."""
    problem, x, _ = make(name, device)
    _, x_2, _ = make(name, device, seed=1)
    y = problem.predict(x)
    back = problem.pseudo_inverse(y)
    error = float((problem.predict(back) - y).norm() / y.norm())
    asymmetry = (back * x_2).sum() - (x * problem.pseudo_inverse(problem.predict(x_2))).sum()
    if name in NO_PSEUDO_INVERSE:
        assert error > 1e-3, "this one need not be listed as an exception"
    else:
        assert error < 1e-4
        assert abs(float(asymmetry)) <= 1e-4 * float(x.norm() * x_2.norm())


@EVERY
def test_the_measured_entries_and_their_noise(name, device):
    sigma = 0.1
    generator = make_generator(device, 2)
    problem, x, v = make(name, device)
    clean = problem.predict(x)
    y = problem.project(Gaussian(sigma).sample(clean, generator))
    residual = y - clean
    m = problem.count(y)
    assert m.tolist() == (residual != 0).flatten(1).sum(1).tolist()
    estimate, total = float((residual.square().sum() / m.sum()).sqrt()), float(m.sum())
    assert abs(estimate - sigma) < 4 * sigma / (2 * total) ** 0.5
    measured = problem.project(torch.ones_like(v)) != 0
    seen = clean != 0  # a row of A that is not empty sees something of a random x
    assert not bool((seen & ~measured).any())
    assert bool((measured & ~seen).any()) == (name in EMPTY_ROWS)


class Mistaken:
    """The operator with a wrong adjoint."""

    def __init__(self, operator, wrong):
        self.operator, self.wrong = operator, wrong

    def A(self, x):
        return self.operator.A(x)

    def A_adjoint(self, y):
        return self.wrong(self.operator.A_adjoint(y))


WRONG = {
    "a tenth too large": lambda x: 1.1 * x,
    "sign": lambda x: -x,
    "shifted along": lambda x: x.roll(1, -1),
    "shifted down": lambda x: x.roll(1, -2),
    "transposed rows": lambda x: x.flip(-2),
}


@EVERY
def test_the_check_accepts_each_and_rejects_wrong_adjoints(name, device, dtype):
    problem, _, v = make(name, device, dtype)
    for seed in range(5):
        problem.check_adjoint(v, make_generator(device, seed))
    operator = problem.operator.to(device) if isinstance(problem.operator, torch.nn.Module) else problem.operator
    for mistake in WRONG.values():
        mistaken = replace(problem, operator=Mistaken(operator, mistake))
        for seed in range(5):
            with pytest.raises(UnveilError, match="adjoint is wrong"):
                mistaken.check_adjoint(v, make_generator(device, seed))


@EVERY
def test_a_copy_predicts_the_same_and_nothing_draws_globally(name, device):
    state = torch.get_rng_state()
    problem, x, v = make(name, device)
    again = copy.deepcopy(problem)  # as the moving average of an estimator that holds its problem does
    assert torch.equal(again.predict(x), problem.predict(x))
    assert torch.equal(again.adjoint(v), problem.adjoint(v))
    assert torch.equal(torch.get_rng_state(), state)


def letters(text):
    return "".join(letter for letter in text.lower() if letter.isalpha())


def test_every_kind_of_the_configuration_has_a_builder_and_a_case():
    sections = get_args(get_args(System)[0])
    kinds = [get_args(section.model_fields["kind"].annotation)[0] for section in sections]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == set(BUILDERS)
    assert {letters(kind) for kind in kinds} == {letters(name.split(",")[0]) for name in CASES} | {"identity"}


def test_the_exceptions_are_cases():
    assert {*NO_PSEUDO_INVERSE, *EMPTY_ROWS} <= set(CASES)


INVERTING = [
    name for name in CASES if isinstance(CASES[name]().at(torch.zeros(1, dtype=torch.long)).operator, Inverting)
]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", INVERTING)
def test_an_operator_that_solves_its_normal_equations_does(name, hidden, device):
    """(A^T M A + lambda I) x = b with lambda far below and above A^T A, also with entries hidden, others in each sample."""
    problem, x, v = make(name, device)
    if hidden:
        problem = problem.restrict(torch.rand(v.shape[:1] + v[0].shape, generator=make_generator(device, 9)) < 0.6)
    lambda_ = torch.tensor([1e-4, 0.1, 50.0], dtype=DOUBLE, device=device)
    b = problem.adjoint(v) + 0.1 * x
    solved = regularised_inverse(problem, b, lambda_)
    back = problem.adjoint(problem.predict(solved)) + lambda_.reshape(-1, 1, 1, 1) * solved
    close(back, b, 1e-8)
    assert torch.autograd.gradcheck(
        lambda b, lambda_: regularised_inverse(problem, b, lambda_), (b.requires_grad_(), lambda_.requires_grad_())
    )
