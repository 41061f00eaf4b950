"""The contract by operators of the tests' own: what the base class makes of `_apply` and `_adjoint`, and the check of
the adjoint."""

import pytest
import torch
from cases import CASES

from unveil.errors import UnveilError
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators import Identity, Operator, cartesian_mask, demosaicing, inpainting, mri, tomography
from unveil.random import make_generator

SHAPE = (4, 2, 6, 8)


class Pool(Operator):
    """Means of pairs of columns; `wrong` bends its adjoint."""

    def __init__(self, image_shape=(2, 6, 16), measured=None, wrong=lambda x: x):
        self.image_shape, self.measurement_shape, self.measured, self.wrong = image_shape, None, measured, wrong

    def _apply(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def _adjoint(self, y):
        return self.wrong(y.repeat_interleave(2, -1) / 2)


@pytest.fixture
def y(device, dtype):
    return torch.randn(SHAPE, generator=make_generator(device, 1), device=device, dtype=dtype)


@pytest.fixture(params=["none", "image", "rows", "sample"])
def measured(request, device):
    keep = torch.rand(SHAPE, generator=make_generator(device, 2), device=device) < 0.6
    return {"none": None, "image": keep[:1], "rows": keep[:1, :1, :, :1], "sample": keep[:, :1]}[request.param]


def entries(tensor, measured):
    """The measured entries of each sample, picked one by one."""
    keep = torch.ones_like(tensor, dtype=torch.bool) if measured is None else measured.expand_as(tensor)
    return [t[k] for t, k in zip(tensor, keep)]


# --- measured entries


def test_the_measured_entries(y, measured):
    operator = Pool(measured=measured)
    seen = entries(y, measured)
    torch.testing.assert_close(operator.mean(y), torch.stack([a.mean() for a in seen]))
    projected = operator.project(y)
    assert torch.equal(torch.cat(entries(projected, measured)), torch.cat(seen))
    assert int((projected != 0).sum()) == sum(len(a) for a in seen)
    assert torch.equal(operator.project(projected), projected)
    assert projected.dtype == y.dtype
    x = torch.cat([y, 2 * y], -1)
    assert torch.equal(operator.A(x), operator.project(operator._apply(x)))
    assert torch.equal(operator.ones(y), operator.project(torch.ones_like(y)))
    operator.check_adjoint(y, make_generator(y.device, 3))
    assert operator.count == (4 if measured is not None and len(measured) > 1 else None)


def test_the_identity(y):
    """The smallest operator is of any shape, and does nothing."""
    operator = Identity()
    assert operator.project(y) is operator.A(y) is operator.A_adjoint(y) is operator.A_dagger(y) is y
    assert (operator.count, operator.unseen, operator.projects) == (None, 0, True)
    torch.testing.assert_close(operator.mean(y), y.flatten(1).mean(1))
    assert torch.equal(operator.image(y), torch.zeros_like(y))
    assert operator.window((1, 2, 3, 4)) is operator
    operator.check_adjoint(y, make_generator(y.device, 3))


class Weighted(Pool):
    """Its pseudo-inverse is no multiple of its adjoint: means of pairs, times a weight for each column."""

    weight = torch.linspace(1, 2, 8)

    def _apply(self, x):
        return super()._apply(x) * self.weight.to(x)

    def _adjoint(self, y):
        return super()._adjoint(y * self.weight.to(y))

    def A_dagger(self, y):
        return (self.project(y) / self.weight.to(y)).repeat_interleave(2, -1)


def test_the_adjoint_and_the_pseudo_inverse_read_the_measured_entries_alone(y, measured):
    operator = Weighted(measured=measured)
    x = torch.randn(4, 2, 6, 16, generator=make_generator(y.device, 4), device=y.device, dtype=y.dtype)
    forward = (operator.A(x) * y).flatten(1).sum(1)
    torch.testing.assert_close(forward, (x * operator.A_adjoint(y)).flatten(1).sum(1), rtol=1e-4, atol=1e-4)
    junk = y + 5 * (1 - operator.project(torch.ones_like(y)))
    assert torch.equal(operator.A_adjoint(junk), operator.A_adjoint(y))
    assert torch.equal(operator.A_dagger(junk), operator.A_dagger(y))
    torch.testing.assert_close(operator.A(operator.A_dagger(y)), operator.project(y))
    plain = Pool(measured=measured)
    assert torch.equal(plain.A_dagger(y), plain._adjoint(plain.project(y))), "A^T stands for it"


def test_hiding_keeps_what_both_select(y, measured):
    operator = Pool(measured=measured)
    shown = torch.rand(4, 1, 6, 8, generator=make_generator(y.device, 5), device=y.device) < 0.5
    part, rest = operator.hide(shown), operator.hide(~shown)
    ones = torch.ones_like(y)
    assert torch.equal(part.project(ones), operator.project(ones) * shown)
    assert torch.equal(part.project(ones) + rest.project(ones), operator.project(ones))
    assert (part.image_shape, part.measurement_shape) == (operator.image_shape, operator.measurement_shape)
    x = torch.cat([y, 2 * y], -1)
    assert torch.equal(part.A(x), operator.A(x) * shown)
    assert torch.equal(part.A_adjoint(y), operator._adjoint(operator.project(y) * shown))


@pytest.mark.parametrize(
    ("operator", "axes"),
    [
        (Identity(), None),
        (inpainting(torch.ones(8, 8).triu()), (-2, -1)),
        (demosaicing(8, 8), (-2, -1)),
        (tomography(torch.arange(0, 180, 20.0), 8), (-2, -1)),
        (mri(cartesian_mask(8, 8, 2, 0.2, make_generator("cpu", 1))), (-1,)),
        (mri(torch.ones(8, 8).triu()), (-2, -1)),
        (mri(torch.ones(8, 8)), (-2, -1)),
    ],
)
def test_what_is_hidden_is_as_hard_to_fill_in_as_what_is_missing(operator, axes):
    assert operator.hidden_axes() == axes


# --- several operators


class Gain(Operator):
    """y = w x, each measurement with a weight of its own."""

    rows = ("measured", "weight")
    image_shape = measurement_shape = SHAPE[1:]

    def __init__(self, weight, measured):
        self.weight, self.measured = weight, measured

    def _apply(self, x):
        return self.weight.to(x) * x

    _adjoint = _apply


def several(device):
    keep = torch.rand(5, 1, 6, 8, generator=make_generator(device, 6), device=device) < 0.6
    return Gain(torch.arange(5.0, device=device)[:, None, None, None], keep)


def test_each_measurement_has_the_operator_of_its_number(y):
    operator = several(y.device)
    which = [3, 0, 4, 3]
    expected = torch.stack([operator.measured[i] * i * y[b] for b, i in enumerate(which)])
    assert torch.equal(operator.select(torch.tensor(which, device=y.device)).A(y), expected)
    part = operator.select(torch.tensor([4, 3, 0]))
    assert (operator.count, part.count) == (5, 3)
    assert torch.equal(part.select(torch.tensor([1, 2, 0, 1], device=y.device)).A(y), expected)


def test_what_is_common_to_all_is_not_selected(y):
    """A weight for each, and one mask; of one operator every measurement has the same."""
    operator = several(y.device)
    operator.measured = operator.measured[:1]
    part = operator.select(torch.tensor([4, 0]))
    assert torch.equal(part.measured, operator.measured)
    assert part.weight.flatten().tolist() == [4, 0]
    one = Pool()
    assert one.select(torch.tensor([2, 7])) is one


# --- the check of the adjoint

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
    operator = Pool((channels, height, 2 * width), wrong=WRONG[wrong])
    for seed in range(12):
        with pytest.raises(UnveilError, match="adjoint is wrong") as caught:
            operator.check_adjoint(torch.zeros(size, device=device, dtype=dtype), make_generator(device, seed))
        assert "\n" not in str(caught.value)


def test_right_adjoints_are_accepted_whatever_the_draw_and_scale(device, dtype):
    class Scaled(Pool):
        def _apply(self, x):
            return 1e-6 * super()._apply(x)

        def _adjoint(self, y):
            return 1e-6 * super()._adjoint(y)

    for operator in (Pool((3, 64, 128)), Scaled((3, 64, 128))):
        for seed in range(20):
            operator.check_adjoint(torch.zeros(4, 3, 64, 64, device=device, dtype=dtype), make_generator(device, seed))


@pytest.mark.parametrize("image_shape", [(2, 6, 14), (2, 5, 16)])
def test_an_image_shape_that_does_not_fit_the_data(image_shape, y):
    with pytest.raises(UnveilError, match="image_shape"):
        Pool(image_shape).check_adjoint(y, make_generator(y.device, 1))


def test_an_adjoint_of_another_shape(y):
    with pytest.raises(UnveilError, match=r"back to \(4, 2, 6, 15\)"):
        Pool(wrong=lambda x: x[..., 1:]).check_adjoint(y, make_generator(y.device, 1))


def test_no_global_draws(y):
    rng = torch.get_rng_state()
    Pool().check_adjoint(y, make_generator(y.device, 1))
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("name", CASES)
def test_an_operator_names_the_instrument_that_it_is_of(name):
    system = name.split(",")[0].replace("super-resolution", "super_resolution").replace("cryo-EM", "cryoem")
    assert CASES[name]().kind == (system if system in INSTRUMENTS else None)
