"""Measurement space: projection, prediction, counts, inner products, and the check of the adjoint."""

import pytest
import torch

from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator

SHAPE = (4, 2, 6, 8)


class Pool:
    """Means of pairs of columns; `wrong` bends its adjoint."""

    def __init__(self, wrong=lambda x: x):
        self.wrong = wrong

    def A(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def A_adjoint(self, y):
        return self.wrong(y.repeat_interleave(2, -1) / 2)


@pytest.fixture
def y(device, dtype):
    return torch.randn(SHAPE, generator=make_generator(device, 1), device=device, dtype=dtype)


@pytest.fixture(params=["none", "image", "rows", "sample"])
def measured(request, device):
    keep = torch.rand(SHAPE, generator=make_generator(device, 2), device=device) < 0.6
    return {"none": None, "image": keep[0], "rows": keep[0, 0, :, :1], "sample": keep[:, :1]}[request.param]


def entries(tensor, measured):
    """The measured entries of each sample, picked one by one."""
    keep = torch.ones_like(tensor, dtype=torch.bool) if measured is None else measured.expand_as(tensor)
    return [t[k] for t, k in zip(tensor, keep)]


def test_the_measured_entries(y, measured):
    problem = Problem(None, measured)
    v = y.flip(0)
    pairs = list(zip(entries(y, measured), entries(v, measured)))
    torch.testing.assert_close(problem.inner(y, v), torch.stack([(a * b).mean() for a, b in pairs]))
    torch.testing.assert_close(problem.inner(y, v), problem.inner(v, y))
    assert problem.count(y).tolist() == [len(a) for a, _ in pairs]
    projected = problem.project(y)
    assert torch.equal(torch.cat(entries(projected, measured)), torch.cat([a for a, _ in pairs]))
    assert int((projected != 0).sum()) == sum(len(a) for a, _ in pairs)
    assert torch.equal(problem.project(projected), projected)
    assert projected.dtype == y.dtype
    assert torch.equal(problem.predict(y), projected)
    assert torch.equal(problem.ones(y), problem.project(torch.ones_like(y)))
    assert problem.ones(y).dtype == y.dtype


def test_with_an_operator(y, measured):
    problem = Problem(Pool(), measured, (2, 6, 16))
    x = torch.cat([y, 2 * y], -1)
    assert torch.equal(problem.predict(x), problem.project(Pool().A(x)))
    assert torch.equal(problem.ones(y), problem.project(torch.ones_like(y)))
    problem.check_adjoint(y, make_generator(y.device, 3))


def test_denoising_is_the_identity(y):
    assert DENOISING.project(y) is y
    assert torch.equal(DENOISING.predict(y), y)
    assert torch.equal(DENOISING.count(y), torch.full((4,), 96.0, device=y.device, dtype=y.dtype))
    DENOISING.check_adjoint(y, make_generator(y.device, 3))


def test_an_operator_needs_the_shape_of_its_images():
    with pytest.raises(UnveilError, match="image_shape"):
        Problem(Pool())


WRONG = {
    "twice": lambda x: 2 * x,
    "a percent": lambda x: 1.01 * x,
    "sign": lambda x: -x,
    "shifted": lambda x: x.roll(1, -1),
    "rows flipped": lambda x: x.flip(-2),
    "zero": lambda x: 0 * x,
    "nan": lambda x: x * float("nan"),
}


@pytest.mark.parametrize("size", [SHAPE, (4, 3, 96, 96)])
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_adjoints_are_rejected_whatever_the_draw(wrong, size, device, dtype):
    channels, height, width = size[1:]
    problem = Problem(Pool(WRONG[wrong]), None, (channels, height, 2 * width))
    for seed in range(12):
        with pytest.raises(UnveilError, match="adjoint is wrong") as caught:
            problem.check_adjoint(torch.zeros(size, device=device, dtype=dtype), make_generator(device, seed))
        assert "\n" not in str(caught.value)


def test_right_adjoints_are_accepted_whatever_the_draw_and_scale(device, dtype):
    class Scaled(Pool):
        def A(self, x):
            return 1e-6 * super().A(x)

        def A_adjoint(self, y):
            return 1e-6 * super().A_adjoint(y)

    for operator in (Pool(), Scaled()):
        problem = Problem(operator, None, (3, 64, 128))
        for seed in range(20):
            problem.check_adjoint(torch.zeros(4, 3, 64, 64, device=device, dtype=dtype), make_generator(device, seed))


@pytest.mark.parametrize("image_shape", [(2, 6, 14), (2, 5, 16)])
def test_an_image_shape_that_does_not_fit_the_data(image_shape, y):
    with pytest.raises(UnveilError, match="image_shape"):
        Problem(Pool(), None, image_shape).check_adjoint(y, make_generator(y.device, 1))


def test_an_adjoint_of_another_shape(y):
    with pytest.raises(UnveilError, match=r"back to \(4, 2, 6, 15\)"):
        Problem(Pool(lambda x: x[..., 1:]), None, (2, 6, 16)).check_adjoint(y, make_generator(y.device, 1))


def test_no_global_draws(y):
    rng = torch.get_rng_state()
    Problem(Pool(), None, (2, 6, 16)).check_adjoint(y, make_generator(y.device, 1))
    assert torch.equal(torch.get_rng_state(), rng)


# --- the adjoint, the pseudo-inverse, and a part of the entries


class Weighted(Pool):
    """Its pseudo-inverse is no multiple of its adjoint: means of pairs, times a weight for each column."""

    weight = torch.linspace(1, 2, 8)

    def A(self, x):
        return super().A(x) * self.weight.to(x)

    def A_adjoint(self, y):
        return super().A_adjoint(y * self.weight.to(y))

    def A_dagger(self, y):
        return (y / self.weight.to(y)).repeat_interleave(2, -1)


def test_the_adjoint_and_the_pseudo_inverse_read_the_measured_entries_alone(y, measured):
    problem = Problem(Weighted(), measured, (2, 6, 16))
    x = torch.randn(4, 2, 6, 16, generator=make_generator(y.device, 4), device=y.device, dtype=y.dtype)
    forward = (problem.predict(x) * y).flatten(1).sum(1)
    torch.testing.assert_close(forward, (x * problem.adjoint(y)).flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    junk = y + 5 * (1 - problem.project(torch.ones_like(y)))
    assert torch.equal(problem.adjoint(junk), problem.adjoint(y))
    assert torch.equal(problem.pseudo_inverse(junk), problem.pseudo_inverse(y))
    torch.testing.assert_close(problem.predict(problem.pseudo_inverse(y)), problem.project(y))
    assert torch.equal(Problem(Pool(), measured, (2, 6, 16)).pseudo_inverse(y), Pool().A_adjoint(problem.project(y)))


def test_of_the_identity_they_are_the_projection(y, measured):
    problem = Problem(None, measured)
    assert torch.equal(problem.adjoint(y), problem.project(y))
    assert torch.equal(problem.pseudo_inverse(y), problem.project(y))


def test_restrict_keeps_what_both_select(y, measured):
    problem = Problem(Pool(), measured, (2, 6, 16), SHAPE[1:])
    shown = torch.rand(4, 1, 6, 8, generator=make_generator(y.device, 5), device=y.device) < 0.5
    part = problem.restrict(shown)
    ones = torch.ones_like(y)
    assert torch.equal(part.project(ones), problem.project(ones) * shown)
    torch.testing.assert_close(part.count(y) + problem.restrict(~shown).count(y), problem.count(y))
    assert (part.operator, part.image_shape, part.measurement_shape) == (
        problem.operator,
        problem.image_shape,
        problem.measurement_shape,
    )
    x = torch.cat([y, 2 * y], -1)
    assert torch.equal(part.predict(x), problem.predict(x) * shown)
    assert torch.equal(part.adjoint(y), Pool().A_adjoint(problem.project(y) * shown))


# --- several operators


def several(device):
    keep = torch.rand(5, 1, 6, 8, generator=make_generator(device, 6), device=device) < 0.6
    weight = torch.arange(5.0, device=device)[:, None, None, None]

    class Gain:
        def __init__(self, weight):
            self.weight = weight

        def A(self, x):
            return self.weight.to(x) * x

        A_adjoint = A

    return Several(
        {"keep": keep, "weight": weight}, lambda keep, weight: Problem(Gain(weight), keep, SHAPE[1:], SHAPE[1:])
    )


def test_each_measurement_has_the_operator_of_its_number(y):
    problem = several(y.device)
    which = [3, 0, 4, 3]
    expected = torch.stack([problem.parameters["keep"][i] * i * y[b] for b, i in enumerate(which)])
    assert torch.equal(problem.at(torch.tensor(which, device=y.device)).predict(y), expected)
    part = problem.subset([4, 3, 0])
    assert (len(problem), len(part)) == (5, 3)
    assert torch.equal(part.at(torch.tensor([1, 2, 0, 1], device=y.device)).predict(y), expected)
    assert problem.image_shape == part.measurement_shape == SHAPE[1:]


def test_of_one_operator_every_measurement_has_the_same(y):
    problem = Problem(Pool(), None, (2, 6, 16))
    assert problem.at(torch.tensor([2, 7])) is problem
    assert problem.subset([2, 7]) is problem


@pytest.mark.parametrize("parameters", [{}, {"a": torch.ones(3), "b": torch.ones(4)}])
def test_several_operators_need_a_row_of_each_parameter_for_each_measurement(parameters):
    with pytest.raises(UnveilError, match="one row per measurement") as caught:
        Several(parameters, lambda **rows: DENOISING)
    assert "\n" not in str(caught.value)
