"""Every symmetry of the registry is the group action that it claims: exact, of that level of noise, uniformly drawn.

What is special to one, its identity, inverses and products, stands in the table ACTIONS.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from scipy import stats

from unveil.errors import UnveilError
from unveil.random import make_generator, normal
from unveil.symmetry import (
    SYMMETRIES,
    Amplitude,
    Flip,
    Permute,
    Product,
    Quarter,
    Rotate,
    Scale,
    Shift,
    make_symmetry,
)

SHAPES = [(2, 9, 9), (1, 8, 8), (2, 6, 9)]


@dataclass
class Action:
    """identity(x): g with T_g x = x. inverse(g), product(h, g) with T_h T_g = T_product: None where there is none."""

    identity: Any
    inverse: Any = None
    product: Any = None


def rows(x, *row):
    return torch.tensor(row, dtype=torch.float64, device=x.device).expand(len(x), -1)


ACTIONS = {
    "shift": Action(lambda x: rows(x, 0, 0), lambda g: -g, lambda h, g: h + g),
    "flip": Action(lambda x: rows(x, 0, 0), lambda g: g, lambda h, g: (h - g).abs()),
    "quarter": Action(lambda x: rows(x, 0), lambda g: -g, lambda h, g: h + g),
    "rotate": Action(lambda x: rows(x, 0), lambda g: -g),
    "permute": Action(
        lambda x: rows(x, *range(x[0, 0].numel())),
        lambda g: g.argsort(1).double(),
        lambda h, g: g.gather(1, h.long()),
    ),
    "amplitude": Action(
        lambda x: rows(x, 1, 0),
        lambda g: torch.stack([1 / g[:, 0], -g[:, 1] / g[:, 0]], 1),
        lambda h, g: torch.stack([h[:, 0] * g[:, 0], h[:, 0] * g[:, 1] + h[:, 1]], 1),
    ),
    "scale": Action(lambda x: rows(x, 1)),
}


def images(shape, device, count=6, key=1, dtype=torch.float64):
    return normal(torch.empty(count, *shape, dtype=dtype, device=device), make_generator(device, key))


CASES = [(n, s) for n in SYMMETRIES for s in SHAPES if n != "quarter" or s[1] == s[2]]
"""Quarter turns are of square images."""


def those(which):
    """The cases whose action `which` says yes to."""
    chosen = [(name, shape) for name, shape in CASES if which(ACTIONS[name])]
    return pytest.mark.parametrize("case", chosen, indirect=True, ids=lambda p: f"{p[0]}-{p[1]}")


@pytest.fixture(params=CASES, ids=lambda p: f"{p[0]}-{p[1]}")
def case(request, device):
    """(name, T, x, g), g drawn."""
    name, shape = request.param
    symmetry, x = SYMMETRIES[name](), images(shape, device)
    return name, symmetry, x, symmetry.draw(x, make_generator(device, 2))


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_every_symmetry_is_in_the_table():
    assert set(ACTIONS) == set(SYMMETRIES)


def test_the_identity(case):
    name, symmetry, x, _ = case
    close(symmetry.apply(x, ACTIONS[name].identity(x)), x)


@those(lambda action: action.inverse is not None)
def test_inverses(case):
    name, symmetry, x, g = case
    inverse = ACTIONS[name].inverse(g)
    close(symmetry.apply(symmetry.apply(x, g), inverse), x)
    close(symmetry.apply(symmetry.apply(x, inverse), g), x)


@those(lambda action: action.product is not None)
def test_products(case):
    name, symmetry, x, g = case
    h = symmetry.draw(x, make_generator(x.device, 3))
    close(symmetry.apply(symmetry.apply(x, g), h), symmetry.apply(x, ACTIONS[name].product(h, g)))


def test_the_action_is_not_trivial(case):
    _, symmetry, x, g = case
    moved = (symmetry.apply(x, g) - x).flatten(1).norm(dim=1) > 0.1 * x.flatten(1).norm(dim=1)
    assert moved.sum() >= 2


def test_linear(case):
    _, symmetry, x, g = case
    a, b = 0.7, -1.3
    part = symmetry.linear_part
    close(part(a * x + b * x.flip(0), g), a * part(x, g) + b * part(x.flip(0), g))
    zero = symmetry.apply(torch.zeros_like(x), g)
    assert bool((zero == 0).all()) == symmetry.linear


def test_the_adjoint(case):
    _, symmetry, x, g = case
    v = images(x.shape[1:], x.device, key=4)
    before = symmetry.adjoint(v, g)
    close((symmetry.linear_part(x, g) * v).sum(), (x * before).sum())
    assert not before.requires_grad


def test_orthogonal_where_the_noise_keeps_its_level(case):
    name, symmetry, x, g = case
    if bool((symmetry.noise_factor(g) == 1).all()):
        close(symmetry.apply(x, g).flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
        close(symmetry.adjoint(symmetry.apply(x, g), g), x)
    else:
        assert name in ("amplitude", "scale")


def test_samples_are_moved_one_by_one(case):
    _, symmetry, x, g = case
    moved = symmetry.apply(x, g)
    for i in range(len(x)):
        close(symmetry.apply(x[i : i + 1], g[i : i + 1]), moved[i : i + 1])


def test_channels_are_moved_alike(case):
    _, symmetry, x, g = case
    doubled = symmetry.apply(x[:, :1].repeat(1, 3, 1, 1), g)
    close(doubled[:, 0], doubled[:, 1], 1e-13)
    close(doubled[:, 0], doubled[:, 2], 1e-13)


def test_draws_differ_between_samples_and_come_from_the_generator(case):
    _, symmetry, x, _ = case
    many = x[:1].expand(64, *x.shape[1:])
    before = torch.get_rng_state()
    g = symmetry.draw(many, make_generator(x.device, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(g.unique(dim=0)) > 1
    assert g.shape[1] == (symmetry.numbers or x[0, 0].numel())
    assert torch.equal(g, symmetry.draw(many, make_generator(x.device, 5)))
    assert not torch.equal(g, symmetry.draw(many, make_generator(x.device, 6)))
    torch.testing.assert_close(
        symmetry.transform(many, make_generator(x.device, 5)), symmetry.apply(many, g), rtol=0, atol=0
    )


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
def test_the_precision_of_the_image_is_kept(case, low):
    _, symmetry, x, _ = case
    g = symmetry.draw(x.to(low), make_generator(x.device, 2))
    assert g.dtype == torch.float32
    moved = symmetry.apply(x.to(low), g)
    assert moved.dtype == low
    assert moved.device.type == x.device.type
    assert symmetry.draw(x, make_generator(x.device, 2)).dtype == torch.float64
    tolerance = 1e-4 if low == torch.float32 else 0.1
    torch.testing.assert_close(moved.double(), symmetry.apply(x, g.double()), rtol=tolerance, atol=tolerance)


def test_half_precision_reaches_every_pixel_of_a_large_image(device):
    x = torch.zeros(400, 1, 1, 900, dtype=torch.bfloat16, device=device)
    across = Shift().draw(x, make_generator(device, 1))[:, 1]
    assert len(across.unique()) > 250  # of 900; integers above 256 are even in bfloat16, above 512 multiples of 4
    assert torch.equal(
        Permute().draw(x[:1], make_generator(device, 1))[0].sort().values, torch.arange(900.0).to(device)
    )


def test_gradients(case):
    _, symmetry, x, g = case
    small = x[:2, :1, :4, :4].clone().requires_grad_()
    g = symmetry.draw(small, make_generator(x.device, 7))
    assert torch.autograd.gradcheck(lambda z: symmetry.apply(z, g), small)
    second = torch.autograd.functional.jvp(lambda z: symmetry.apply(z, g), small, small.detach())[1]
    close(second, symmetry.linear_part(small.detach(), g))


# --- noise


NOISY = {
    "rotate": [[17.0], [130.0], [-45.0]],
    "amplitude": [[0.3, 0.5], [0.9, 0.1]],
    "scale": [[5 / 9], [7 / 9], [1.0]],
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_noise_has_the_stated_level_and_stays_white(name, device):
    """Over 4000 draws: the mean square, and the mean product of neighbours, of every place within 5 standard errors."""
    symmetry = SYMMETRIES[name]()
    w = images((1, 9, 9), device, count=4000, key=8)
    for g in NOISY.get(name) or symmetry.draw(w[:2], make_generator(device, 9)).tolist():
        g = rows(w, *g)
        u = symmetry.linear_part(w, g)[:, 0]
        factor = symmetry.noise_factor(g)[0]
        here = u.abs().amax(0) > 0  # a scales leaves the rest empty
        squares = u.square()[:, here] / factor**2
        error = squares.std(0) / len(w) ** 0.5
        assert ((squares.mean(0) - 1).abs() < 5 * error).all()
        for axis in (1, 2):
            products = (u * u.roll(1, axis))[:, here & here.roll(1, axis - 1)] / factor**2
            assert (products.mean(0).abs() < 5 * products.std(0) / len(w) ** 0.5).all()
        assert float(here.double().mean()) == pytest.approx(float(factor) ** 2 if name == "scale" else 1, abs=1e-6)


def test_the_level_of_a_dilation_is_within_its_bound_between_odd_sizes(device):
    for side in (9, 16):
        for z in torch.linspace(0.4, 1.0, 13, dtype=torch.float64).tolist():
            eye = torch.eye(side * side, dtype=torch.float64, device=device).reshape(-1, 1, side, side)
            t = Scale().apply(eye, rows(eye, z)).flatten(1)
            levels = t.square().sum(0).sqrt()
            levels = levels[levels > 0]
            assert (levels < z * (1 + 1e-9)).all()
            assert (levels > z * (1 - 1 / (2 * side * z)) - 1 / side).all()


# --- draws


def cells(name, symmetry, g):
    """(cell of each g, how many equally likely cells there are)."""
    if name in ("shift", "flip", "quarter"):
        elements = symmetry.elements((1, 4, 5))
        return (g[:, None] == elements).all(2).int().argmax(1), len(elements)
    if name == "permute":
        table = torch.tensor(list(itertools.permutations(range(3))), dtype=g.dtype)
        return (g[:, None] == table).all(2).int().argmax(1), len(table)
    if name == "rotate":
        u = (g[:, 0] + symmetry.limit) / (2 * symmetry.limit)
    elif name == "scale":
        u = (g[:, 0] / symmetry.low).log() / math.log(symmetry.high / symmetry.low)
    else:
        u, mu = g[:, 0].log() / math.log(symmetry.low), g[:, 1] / (1 - g[:, 0])
        return (8 * u).long().clamp(0, 7) * 8 + (8 * mu).long().clamp(0, 7), 64
    return (30 * u).long().clamp(0, 29), 30


def chi_square_p(cell, count):
    observed = torch.bincount(cell, minlength=count).double()
    expected = len(cell) / count
    return float(stats.chi2.sf(float(((observed - expected) ** 2 / expected).sum()), count - 1))


@pytest.mark.parametrize("name", SYMMETRIES)
def test_draws_are_uniform(name):
    symmetry = SYMMETRIES[name]()
    x = torch.zeros(1, 1, 1, 3) if name == "permute" else torch.zeros(1, 1, 4, 5)
    g = symmetry.draw(x.double().expand(20_000, -1, -1, -1), make_generator("cpu", 10))
    assert 1e-3 < chi_square_p(*cells(name, symmetry, g)) < 1 - 1e-3


def test_the_test_of_uniformity_has_power():
    g = Rotate(175.0).draw(torch.zeros(20_000, 1, 1, 1), make_generator("cpu", 10))
    assert chi_square_p(*cells("rotate", Rotate(), g)) < 1e-6
    g = Shift().draw(torch.zeros(20_000, 1, 4, 4), make_generator("cpu", 10))
    assert chi_square_p(*cells("shift", Shift(), g)) < 1e-6


# --- groups


@pytest.mark.parametrize("name", ["shift", "flip", "quarter"])
def test_the_elements_are_the_group(name, device):
    symmetry, shape = SYMMETRIES[name](), (1, 5, 5)
    elements = symmetry.elements(shape)
    assert len(elements) == symmetry.order(shape)
    x = images(shape, device, count=1)
    moved = symmetry.apply(x.expand(len(elements), *shape), elements.to(device)).flatten(1)
    assert len(moved.unique(dim=0)) == len(elements)
    cover = symmetry.cover(x, len(elements), make_generator(device, 1))
    assert torch.equal(cover, elements.to(device))
    few = symmetry.cover(x, len(elements) - 1, make_generator(device, 1))
    assert len(few) == len(elements) - 1


def test_orders():
    orders = {name: SYMMETRIES[name]().order((3, 4, 4)) for name in SYMMETRIES}
    assert orders == {
        "shift": 16,
        "flip": 4,
        "quarter": 4,
        "rotate": math.inf,
        "permute": math.factorial(16),
        "amplitude": math.inf,
        "scale": math.inf,
    }
    assert Permute().order((1, 100, 100)) == math.inf


@pytest.mark.parametrize("symmetry", [Rotate(), Rotate(20.0), Scale(0.3, 2.0)])
def test_a_continuum_is_covered_evenly(symmetry, device):
    g = symmetry.cover(images((1, 4, 4), device, count=1), 50, make_generator(device, 1))[:, 0]
    steps = g.diff() if isinstance(symmetry, Rotate) else g.log().diff()
    width = 2 * symmetry.limit if isinstance(symmetry, Rotate) else math.log(symmetry.high / symmetry.low)
    close(steps, torch.full_like(steps, width / 50))
    low, high = (-symmetry.limit, symmetry.limit) if isinstance(symmetry, Rotate) else (symmetry.low, symmetry.high)
    assert low <= g.min()
    assert g.max() < high


# --- single ones


def blob(across, up, side=33, width=2.0):
    """A Gaussian at (across, up) from the centre, pixels."""
    at = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    return torch.exp(-((at - across) ** 2 + (-at[:, None] - up) ** 2) / (2 * width**2))[None, None]


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("angle", [3.0, 44.0, 46.0, 90.0, 155.0, -100.0])
def test_a_rotation_turns_counter_clockwise_about_the_centre(angle, side):
    t = math.radians(angle)
    place = (5 * math.cos(t) - 3 * math.sin(t), 5 * math.sin(t) + 3 * math.cos(t))
    x = blob(5, 3, side)
    close(Rotate().apply(x, rows(x, angle)), blob(*place, side), 1e-5)
    both = Rotate().apply(Rotate().apply(x, rows(x, angle)), rows(x, 31.0))
    close(both, Rotate().apply(x, rows(x, angle + 31.0)), 1e-5)


def test_a_rotation_of_an_oblong_image():
    x = torch.nn.functional.pad(blob(4, 2, 25), (10, 10))
    close(Rotate().apply(x, rows(x, 180.0)), x.flip(-1, -2))
    t = math.radians(70)
    place = (4 * math.cos(t) - 2 * math.sin(t), 4 * math.sin(t) + 2 * math.cos(t))
    close(Rotate().apply(x, rows(x, 70.0)), torch.nn.functional.pad(blob(*place, 25), (10, 10)), 3e-4)


def test_quarter_turns_are_those_of_rotations(device):
    x = images((2, 8, 8), device)
    for k in range(4):
        close(Quarter().apply(x, rows(x, k)), x.rot90(k, (-2, -1)))
        close(Rotate().apply(x, rows(x, 90.0 * k)), x.rot90(k, (-2, -1)))
    for _ in range(4):
        x = Quarter().apply(x, rows(x, 1))
    assert torch.equal(x, images((2, 8, 8), device))


def test_a_shift_moves_down_and_to_the_right(device):
    x = images((1, 5, 7), device)
    assert torch.equal(Shift().apply(x, rows(x, 2, 3)), x.roll((2, 3), (-2, -1)))


@pytest.mark.parametrize("z", [0.6, 0.8, 1.4])
def test_a_dilation_scales_about_the_centre(z):
    x = blob(5, 3)
    close(Scale(0.1, 2.0).apply(x, rows(x, z)), blob(5 * z, 3 * z, width=2 * z), 1e-3)


def test_a_dilation_keeps_the_central_crop_of_the_fourier_plane(device):
    """Of 17 frequencies z = 1/2 keeps |k| <= 3, k = 4 with weight 3/4, and none beyond, each at the frequency k / z."""
    at = torch.arange(17, dtype=torch.float64, device=device)
    inside = (at - 8).abs() <= 4
    for k in range(9):
        x = torch.cos(2 * math.pi * k * (at - 8) / 17).expand(1, 1, 17, 17)
        seen = Scale().apply(x, rows(x, 0.5))[0, 0, 8]
        weight = 1.0 if k <= 3 else 0.75 if k == 4 else 0.0
        close(seen, weight * torch.cos(2 * math.pi * k * 2 * (at - 8) / 17) * inside)


def test_a_symmetry_is_drawn_within_its_limits(device):
    x = images((1, 4, 4), device, count=1000)
    angles = Rotate(5.0).draw(x, make_generator(device, 1))
    assert 4.5 < float(angles.abs().max()) <= 5
    a, mu = Amplitude(0.2, (0.5, 0.5)).draw(x, make_generator(device, 1)).unbind(1)
    assert 0.2 <= float(a.min()) < 0.25
    close(mu, (1 - a) / 2)


# --- products


def test_a_product_applies_its_factors_in_turn(device):
    factors = [Shift(), Permute(), Amplitude(), Flip()]
    product, x = Product(factors), images((2, 3, 5), device)
    g = product.draw(x, make_generator(device, 1))
    assert g.shape == (6, 2 + 15 + 2 + 2)
    parts = g.split([2, 15, 2, 2], 1)
    expected = x
    for factor, part in zip(factors, parts):
        expected = factor.apply(expected, part)
    assert torch.equal(product.apply(x, g), expected)
    assert torch.equal(product.noise_factor(g), parts[2][:, 0])
    assert not product.linear
    nested = Product([Product(factors[:2]), Product(factors[2:])])
    assert torch.equal(nested.apply(x, g), expected)


def test_the_order_of_a_product(device):
    product, x = make_symmetry(["shift", "flip"]), images((1, 3, 4), device)
    assert product.order((1, 3, 4)) == 48
    elements = product.elements((1, 3, 4))
    assert len(elements.unique(dim=0)) == 48
    moved = product.apply(x[:1].expand(48, 1, 3, 4), elements.to(device)).flatten(1)
    assert len(moved.unique(dim=0)) == 48
    assert Product([Shift(), Rotate()]).interpolates
    assert Product([Shift(), Rotate()]).elements((1, 3, 3)) is None


def test_a_product_is_covered_evenly_by_each_factor(device):
    x = images((1, 3, 4), device, count=1)
    g = make_symmetry(["flip", "rotate"]).cover(x, 40, make_generator(device, 1))
    _, counts = g[:, :2].unique(dim=0, return_counts=True)
    assert counts.tolist() == [10, 10, 10, 10]
    steps = g[:, 2].sort().values.diff()
    close(steps, torch.full_like(steps, 9.0))
    assert len(make_symmetry(["flip", "shift"]).cover(x, 48, make_generator(device, 1))) == 48
    assert len(make_symmetry(["flip", "shift"]).cover(x, 47, make_generator(device, 1))) == 47


def test_a_product_of_nothing_is_the_identity(device):
    nothing, x = make_symmetry([]), images((2, 3, 4), device)
    g = nothing.draw(x, make_generator(device, 1))
    assert g.shape == (6, 0)
    assert torch.equal(nothing.apply(x, g), x)
    assert nothing.order((2, 3, 4)) == 1
    assert len(nothing.cover(x, 5, make_generator(device, 1))) == 1
    assert nothing.noise_factor(g).tolist() == [1] * 6


def test_names():
    assert isinstance(make_symmetry(["rotate"]), Rotate)
    product = make_symmetry(["shift", "flip", "amplitude"])
    assert [type(factor).__name__.lower() for factor in product.factors] == ["shift", "flip", "amplitude"]
    for name, make in SYMMETRIES.items():
        assert type(make()).__name__.lower() == name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_symmetry(["shifts"]), "'shifts'; use shift"),
        (lambda: make_symmetry(["shift", "flip", "shift"]), "twice"),
        (lambda: Rotate(0.0), "limit"),
        (lambda: Rotate(200.0), "limit"),
        (lambda: Scale(1.0, 0.5), "low < high"),
        (lambda: Amplitude(0.0), "low"),
        (lambda: Amplitude(0.1, (0.5, 2.0)), "offset"),
        (lambda: Quarter().transform(torch.zeros(1, 1, 3, 4), make_generator("cpu", 1)), "3x4"),
    ],
)
def test_it_refuses(make, message):
    with pytest.raises(UnveilError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
