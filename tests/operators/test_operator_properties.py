"""What holds for every operator: its adjoint, shapes, batches, precisions, gradients, pseudo-inverse, and measured
entries."""

import copy

import pytest
import torch
from cases import CASES, chosen, draw, some_hidden

from unveil.errors import UnveilError
from unveil.instruments.cryoem.volume import Projections
from unveil.instruments.registry import INSTRUMENTS
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Operator, Optics
from unveil.random import make_generator

DOUBLE = torch.float64
EVERY = pytest.mark.parametrize("name", CASES)

BACK_PROJECTION = "filtered back-projection: A^+ takes many iterations and enhances the noise more"
ZERO_FILLED = (
    "zero-filled: A^+ of some frequencies and several coils takes hundreds of iterations and enhances the noise"
)
TRANSPOSE = "A^T: losses and samplers ask these for no more"

NO_PSEUDO_INVERSE: dict[str, str] = {
    "tomography, the whole square": BACK_PROJECTION,
    "tomography, the axis beside the middle": BACK_PROJECTION,
    "tomography, a round field of view": BACK_PROJECTION,
    "mri, several coils": ZERO_FILLED,
    "mri, several coils, masks and coils per image": ZERO_FILLED,
    "turned, one turn": TRANSPOSE,
    "turned, one turn and a defocus per image": TRANSPOSE,
    "beside, one exposure and a defocus per image": TRANSPOSE,
    "beside, an exposure per image": TRANSPOSE,
}
"""name -> why A_dagger is not A^+."""

EMPTY_ROWS: dict[str, str] = {
    "tomography, the whole square": "some rays miss the image: what their detectors measure is noise, and counts",
    "tomography, the axis beside the middle": "some rays miss the image",
    "tomography, a round field of view": "the outermost rays touch the circle between two pixels",
    "beside, an exposure per image": "an exposure of 0 tells nothing",
}
"""name -> why A x is zero on measured entries."""


def close(a, b, tolerance=1e-10):
    assert a.shape == b.shape
    assert float((a - b).norm()) <= tolerance * float(b.norm())


def same(a, b):
    """To the bit; on a GPU, where kernels add in any order, to rounding."""
    assert torch.equal(a, b) or (a.device.type != "cpu" and close(a, b, 1e-12) is None)


@EVERY
@pytest.mark.parametrize("hidden", [False, True])
def test_the_short_way_to_the_normal_operator(name, hidden, device):
    """That of A^T A, whichever entries are hidden."""
    operator, x, y = draw(name, device)
    operator = some_hidden(operator, y) if hidden else operator
    close(operator.normal()(x), operator.A_adjoint(operator.A(x)))


@EVERY
def test_shapes(name, device):
    operator, x, v = draw(name, device)
    assert operator.A(x).shape == operator.ones(v).shape == v.shape
    assert operator.A_adjoint(v).shape == operator.A_dagger(v).shape == x.shape
    image = operator.image(v)
    assert (image.shape, image.dtype, image.device) == (x.shape, x.dtype, x.device)
    assert not image.any()
    assert torch.equal(operator.ones(v), operator.A(torch.ones_like(x)))
    whole = CASES[name]()
    assert (whole.image_shape, whole.measurement_shape) == (operator.image_shape, operator.measurement_shape)


@EVERY
def test_adjoint(name, device):
    operator, x, v = draw(name, device)
    y = operator.A(x)
    gap = (y * v).sum() - (x * operator.A_adjoint(v)).sum()
    assert abs(float(gap)) <= 1e-10 * float(y.norm() * v.norm())
    assert float(y.norm()) > 0.01 * float(x.norm())


@EVERY
def test_linear(name, device):
    operator, x, v = draw(name, device)
    _, x_2, v_2 = draw(name, device, seed=1)
    close(operator.A(2 * x - 0.5 * x_2), 2 * operator.A(x) - 0.5 * operator.A(x_2))
    close(operator.A_adjoint(2 * v - 0.5 * v_2), 2 * operator.A_adjoint(v) - 0.5 * operator.A_adjoint(v_2))


# --- one operator for all, or for each


@EVERY
@pytest.mark.parametrize("hidden", [False, True])
def test_each_sample_of_a_batch_as_if_alone(name, hidden, device):
    operator, x, v = draw(name, device)
    operator = some_hidden(operator, v) if hidden else operator
    forward, back, mean = operator.A(x), operator.A_adjoint(v), operator.mean(v)
    for b in range(3):
        alone = operator.select(torch.tensor([b], device=device))
        close(alone.A(x[b : b + 1]), forward[b : b + 1])
        close(alone.A_adjoint(v[b : b + 1]), back[b : b + 1])
        torch.testing.assert_close(alone.mean(v[b : b + 1]), mean[b : b + 1])


@EVERY
def test_a_selection_of_a_selection(name, device):
    """The rows of all measurements, and the count of them; of one operator for all there is nothing to select."""
    whole = CASES[name]().to(device)
    _, x, v = draw(name, device)
    which, again = chosen(whole).to(device), torch.tensor([2, 0, 0], device=device)
    twice, once = whole.select(which).select(again), whole.select(which[again])
    same(twice.A(x), once.A(x))
    same(twice.A_adjoint(v), once.A_adjoint(v))
    several = "per image" in name
    assert whole.count == (5 if several else None)
    assert twice.count == (3 if several else None)
    assert whole.select(which[:1]).count is None
    if several:
        assert not torch.equal(whole.select(which).A(x), once.A(x))
        mixed, alike = whole.select(which), x[:1].expand_as(x)
        for out in (mixed.A(alike), mixed.A_adjoint(v[:1].expand_as(v))):
            assert float((out[0] - out[1]).norm()) > 0.01 * float(out[0].norm())


@EVERY
def test_a_slice_of_a_measurement_is_measured_by_its_operators(name, device):
    """m[rows] takes data and operators together, and so does a slice of the slice."""
    operator, x, v = draw(name, device)
    m = Measurement(operator.A(x) + 0.1 * v, operator, Gaussian(torch.tensor([0.1, 0.2, 0.3]).to(x)))
    rows = torch.tensor([2, 0, 2], device=device)
    part = m[rows]
    assert torch.equal(part.y, m.y[rows])
    close(part.predict(x[rows]), m.predict(x)[rows])
    close(part.operator.A_adjoint(part.y), m.operator.A_adjoint(m.y)[rows])
    close(part[1:].predict(x[:2]), m[torch.tensor([0, 2], device=device)].predict(x[:2]))
    torch.testing.assert_close(part.mean_square(part.y), m.mean_square(m.y)[rows])


# --- precision, device, gradients


@EVERY
def test_precision_and_device(name, device):
    operator, x, v = draw(name, device)
    for dtype, tolerance in ((DOUBLE, 1e-12), (torch.float32, 1e-5), (DOUBLE, 1e-12)):  # an operator keeps no precision
        for apply, exact in ((operator.A, x), (operator.A_adjoint, v)):
            out = apply(exact.to(dtype))
            assert out.dtype == dtype
            assert out.device.type == device.type
            close(out.double(), apply(exact), tolerance)
        assert operator.A_dagger(v.to(dtype)).dtype == dtype
        assert operator.mean(v.to(dtype)).dtype == dtype


@EVERY
def test_all_of_it_moves_to_another_device(name, monkeypatch):
    """One that holds no numbers, to which those of any other cannot be joined; once, whoever asks again."""
    monkeypatch.setattr(Optics, "__post_init__", lambda optics: None)  # it looks at them
    operator, x, v = draw(name, torch.device("cpu"))
    operator.A(x)  # what it remembers of it is of the old device
    operator = some_hidden(operator, v)
    assert operator.to("cpu") is operator
    there = operator.to("meta")
    assert there is operator.to(torch.device("meta"))
    assert there.A(x.to("meta")).shape == v.shape
    assert there.A_adjoint(v.to("meta")).shape == x.shape
    if not name.startswith("interferometry"):  # it counts singular values
        assert there.A_dagger(v.to("meta")).shape == x.shape
    assert there.mean(v.to("meta")).shape == (3,)
    part = there.select(torch.tensor([2, 0]))
    assert part.A(x[:2].to("meta")).shape == v[:2].shape


@EVERY
def test_gradients(name, device):
    operator, x, v = draw(name, device)
    x.requires_grad_(), v.requires_grad_()
    (gradient,) = torch.autograd.grad((operator.A(x) * v.detach()).sum(), x)
    close(gradient, operator.A_adjoint(v.detach()))
    (gradient,) = torch.autograd.grad((operator.A_adjoint(v) * x.detach()).sum(), v, create_graph=True)
    close(gradient, operator.A(x.detach()))
    normal = operator.A_adjoint(
        operator.A(x)
    )  # as losses of a network that takes steps towards the data do, twice over
    (gradient,) = torch.autograd.grad(normal.square().sum() / 2, x, create_graph=True)
    (second,) = torch.autograd.grad((gradient * x.detach()).sum(), x)
    close(second, operator.A_adjoint(operator.A(operator.A_adjoint(operator.A(x.detach())))))


@EVERY
def test_a_copy_predicts_the_same_and_nothing_draws_globally(name, device):
    state = torch.get_rng_state()
    operator, x, v = draw(name, device)
    again = copy.deepcopy(operator)
    same(again.A(x), operator.A(x))
    same(again.A_adjoint(v), operator.A_adjoint(v))
    operator.spectral_norm()
    assert torch.equal(torch.get_rng_state(), state)


# --- the pseudo-inverse


@EVERY
def test_pseudo_inverse(name, device):
    """A A^+ A = A, and A^+ A is symmetric: A^+ y has no part in the null space of A."""
    operator, x, _ = draw(name, device)
    _, x_2, _ = draw(name, device, seed=1)
    y = operator.A(x)
    back = operator.A_dagger(y)
    error = float((operator.A(back) - y).norm() / y.norm())
    asymmetry = (back * x_2).sum() - (x * operator.A_dagger(operator.A(x_2))).sum()
    if name in NO_PSEUDO_INVERSE:
        assert error > 1e-3, "this one need not be listed as an exception"
    else:
        assert error < 1e-4
        assert abs(float(asymmetry)) <= 1e-4 * float(x.norm() * x_2.norm())


@EVERY
def test_the_spectral_norm_is_the_largest_singular_value(name, device):
    """Of the first measurement's operator; power iteration comes from below."""
    operator, x, _ = draw(name, device)
    units = torch.eye(x[0].numel(), dtype=DOUBLE, device=device).reshape(-1, *x.shape[1:])
    first = operator.select(torch.zeros(1, dtype=torch.long)).A(units).flatten(1)
    exact = float(torch.linalg.matrix_norm(first, 2))
    assert 0.97 * exact < operator.spectral_norm() < exact * (1 + 1e-6)


# --- the measured entries


@EVERY
def test_the_measured_entries_and_their_noise(name, device):
    sigma = 0.1
    operator, x, v = draw(name, device)
    clean = operator.A(x)
    y = operator.project(Gaussian(sigma).sample(clean, make_generator(device, 2)))
    residual = y - clean
    measured = operator.project(torch.ones_like(v)) != 0
    assert torch.equal(residual != 0, measured)
    estimate, total = float((residual.square().sum() / measured.sum()).sqrt()), float(measured.sum())
    assert abs(estimate - sigma) < 4 * sigma / (2 * total) ** 0.5
    seen = clean != 0  # a row of A that is not empty sees something of a random x
    assert not bool((seen & ~measured).any())
    assert bool((measured & ~seen).any()) == (name in EMPTY_ROWS)


@EVERY
def test_the_mean_is_over_measured_entries_picked_one_by_one(name, device):
    operator, _, v = draw(name, device)
    for part in (operator, some_hidden(operator, v)):
        kept = part.project(torch.ones_like(v)) != 0
        torch.testing.assert_close(part.mean(v), torch.stack([r[k].mean() for r, k in zip(v, kept)]))


@EVERY
def test_hidden_entries_are_not_measured(name, device):
    """Those that all masks select stay, whichever hides first and whether samples are selected before or after."""
    operator, x, v = draw(name, device)
    before = operator.A(x), operator.A_adjoint(v)
    place = [1] * (v.ndim - 1) + [v.shape[-1]]
    columns = torch.rand(place, generator=make_generator(device, 8), device=device) < 0.7  # the same in all samples
    part = some_hidden(operator, v)
    shown = part.project(torch.ones_like(v))
    both = part.hide(columns)
    close(part.A(x), shown * before[0])
    close(both.A(x), columns * shown * before[0])
    close(both.A_adjoint(v), operator.A_adjoint(columns * shown * v))
    same(both.A(x), some_hidden(operator.hide(columns), v).A(x))
    same(both.A_dagger(v), both.A_dagger(columns * shown * v))  # what is hidden is not read
    which = torch.tensor([2, 1], device=device)
    close(both.select(which).A(x[which]), both.A(x)[which])
    assert both.count == 3
    for now, then in zip((operator.A(x), operator.A_adjoint(v)), before):  # a view, not a change
        same(now, then)


# --- the check of the adjoint


class Mistaken(Operator):
    """The operator with a wrong adjoint."""

    def __init__(self, operator, wrong):
        self.operator, self.wrong = operator, wrong
        self.image_shape, self.measurement_shape = operator.image_shape, operator.measurement_shape

    def _apply(self, x):
        return self.operator.A(x)

    def _adjoint(self, y):
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
    operator, _, v = draw(name, device, dtype)
    for seed in range(5):
        operator.check_adjoint(v, make_generator(device, seed))
    for mistake in WRONG.values():
        mistaken = Mistaken(operator, mistake)
        for seed in range(5):
            with pytest.raises(UnveilError, match="adjoint is wrong"):
                mistaken.check_adjoint(v, make_generator(device, seed))


# --- the list itself


def letters(text):
    return "".join(letter for letter in text.lower() if letter.isalpha())


def kinds_of(operator):
    for kind in operator.__subclasses__():
        yield from ([kind] if kind.__module__.startswith("unveil.") else [])
        yield from kinds_of(kind)


def test_every_operator_and_every_kind_of_the_configuration_has_a_case():
    assert {letters(kind) for kind in INSTRUMENTS} <= {letters(name.split(",")[0]) for name in CASES}
    found = {type(make()) for make in CASES.values()}
    assert set(kinds_of(Operator)) == found | {Projections}, "densities are no images"


def test_the_exceptions_are_cases():
    assert {*NO_PSEUDO_INVERSE, *EMPTY_ROWS} <= set(CASES)
