"""M and its spectrum: against the definition, the two ways against one another, and the names of what is hidden."""

import math
import time

import pytest
import torch
from known import columns, microscope, mirrored, multiplier, numbers_of, radius, wave

from unveil.identifiability import (
    commutes,
    equivariance_gap,
    find_spectrum,
    hidden_frequencies,
    name_hidden,
    seconds_needed,
)
from unveil.identifiability.average import Average
from unveil.identifiability.spectrum import Spectrum
from unveil.linalg import lanczos
from unveil.operators import cartesian_mask, inpainting, mri, random_mask
from unveil.random import make_generator, normal
from unveil.symmetry import Amplitude, Flip, Product, Quarter, Rotate, Scale, Shift, make_symmetry

MASK = random_mask(8, 8, 0.5, make_generator("cpu", 1))
OPERATORS = {
    "inpainting": lambda: inpainting(MASK),
    "inpainting, channels": lambda: inpainting(MASK, 2),
    "columns": lambda: multiplier(columns(8, 0, 1, 3)),
    "several": lambda: multiplier(torch.stack([columns(8, 0, 1), columns(8, 2), columns(8, 1, 3)])),
    "mri": lambda: mri(cartesian_mask(8, 8, 2, 0.25, make_generator("cpu", 2))),
}
SYMMETRIES = ["shift", "flip", "quarter", "rotate", "scale", "amplitude"]


def empty(shape, dtype=torch.float64):
    return torch.empty(1, *shape, dtype=dtype)


def make_average(operator, symmetry, key=0):
    return Average(operator, symmetry, empty(operator.image_shape), make_generator("cpu", key))


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("name", OPERATORS)
def test_products_and_the_matrix_are_the_same(name, symmetry):
    average = make_average(OPERATORS[name](), make_symmetry([symmetry]))
    v = average.project(normal(average.like[0], make_generator("cpu", 3)))
    m = average.matrix()
    torch.testing.assert_close(average(v), average.project((m @ v.flatten()).reshape(v.shape)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(m, m.mT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_the_mean_energy_of_what_is_seen_of_moved_images(name):
    """v^T M v = E |A T_g v|^2, over all flips and operators."""
    operator = OPERATORS[name]()
    v = normal(empty(operator.image_shape), make_generator("cpu", 4))
    energies = []
    for a in range(operator.count or 1):
        part = operator.select(torch.tensor([a]))
        for dims in ((), (-1,), (-2,), (-1, -2)):
            energies.append(part.A(v.flip(dims)).square().sum())
    average = make_average(operator, Flip())
    assert average.complete
    expected = torch.stack(energies).mean()
    torch.testing.assert_close((v[0] * average(v[0])).sum(), expected)


def test_which_pairs_are_taken():
    few = make_average(multiplier(torch.ones(4, 8, 8)), Flip())
    pairs = {(*g, w) for g, w in zip(map(tuple, few.g.tolist()), few.which.tolist())}
    assert len(few.g) == len(pairs) == 16
    many = make_average(multiplier(torch.ones(500, 8, 8)), Flip())
    assert not many.complete
    assert len(many.g) == 1024
    assert len(many.which.unique()) == 500
    _, counts = many.g.unique(dim=0, return_counts=True)
    assert counts.tolist() == [256] * 4
    more = make_average(multiplier(torch.ones(5000, 8, 8)), Product())
    assert len(more.which.unique()) == len(more.which) == 1024
    assert more.which.max() > 4900


def test_what_is_judged():
    rotations = make_average(OPERATORS["columns"](), Rotate())
    assert not rotations.complete
    expected = radius(8) / 8 < 0.45
    assert torch.equal(rotations.inside, expected)
    assert rotations.judged == expected.sum()
    assert len(rotations.g) == math.ceil(8 * math.pi)
    assert make_average(OPERATORS["columns"](), Shift()).judged == 64
    assert make_average(OPERATORS["mri"](), Rotate()).judged == 2 * expected.sum()
    v = normal(rotations.like[0], make_generator("cpu", 1))
    low = rotations.project(v)
    torch.testing.assert_close(rotations.project(low), low)
    assert float((low * (v - low)).sum()) == pytest.approx(0, abs=1e-9)


# --- Lanczos on it


def test_lanczos_stays_in_the_space_it_is_told():
    """Rounding outside of it would grow to a ghost of eigenvalue zero."""
    operator = microscope(16, 5e3)
    average = Average(operator, Scale(), empty(operator.image_shape, torch.float32), make_generator("cpu", 0))
    z = average.project(normal(average.like[0], make_generator("cpu", 5)))
    basis, values, _ = lanczos(average, average.project, z, 40)
    assert max(float((average.project(v) - v).norm()) for v in basis) < 1e-5
    exact = torch.linalg.eigvalsh(make_dense(average))
    assert float(values[0]) > 0.9 * float(exact[exact > 1e-9][0])


def make_dense(average):
    eye = torch.eye(average.n, dtype=torch.float64).reshape(-1, *average.shape)
    double = Average(average.operator, average.symmetry, average.like.double(), make_generator("cpu", 0))
    p = double.project(eye).reshape(average.n, -1)
    return p @ double.matrix() @ p


# --- the spectrum, both ways


@pytest.fixture
def by_lanczos(monkeypatch):
    def run(operator, symmetry):
        with monkeypatch.context() as patch:
            patch.setattr("unveil.identifiability.spectrum.DENSE", 0.0)
            found = find_spectrum(operator, symmetry, operator.image_shape, make_generator("cpu", 0))
        assert not found.exact
        return found

    return run


def by_matrix(operator, symmetry):
    found = find_spectrum(operator, symmetry, operator.image_shape, make_generator("cpu", 0))
    assert found.exact
    return found


@pytest.mark.parametrize(
    ("name", "symmetry"),
    [
        ("inpainting", None),
        ("inpainting", Shift()),
        ("inpainting, channels", None),
        ("columns", Shift()),
        ("columns", Quarter()),
        ("columns", Rotate()),
        ("several", Quarter()),
        ("mri", Quarter()),
        ("mri", Rotate()),
    ],
)
def test_both_ways_agree_where_the_hidden_space_is_of_frequencies_or_pixels(name, symmetry, by_lanczos):
    operator = OPERATORS[name]()
    a, b = by_matrix(operator, symmetry), by_lanczos(operator, symmetry)
    assert b.hidden == pytest.approx(a.hidden, abs=1e-2)
    assert a.rank + a.hidden == a.judged == b.judged
    assert (a.full, a.complete) == (b.full, b.complete)
    assert float(b.eigenvalues[0]) == pytest.approx(float(a.eigenvalues[0]), abs=2e-3)
    assert float(b.eigenvalues[-1]) == 1
    assert b.constant == pytest.approx(a.constant, abs=1e-5)
    if "inpainting" in name:
        torch.testing.assert_close(a.pixels, b.pixels.double(), rtol=0, atol=1e-3)
    else:
        torch.testing.assert_close(a.fourier, b.fourier.double(), rtol=0, atol=1e-3, equal_nan=True)
    assert name_hidden(a) == name_hidden(b)


def test_both_ways_agree_where_the_hidden_space_mixes_all(by_lanczos, monkeypatch):
    """What dilations leave hidden of a few pixels is neither frequencies nor pixels: in standard errors, over 8
    seeds."""
    operator = inpainting(columns(8, 0, 1, 3) * MASK)
    exact = by_matrix(operator, Scale())
    assert 5 < exact.hidden < exact.judged - 5
    monkeypatch.setattr("unveil.identifiability.spectrum.DENSE", 0.0)
    shape = operator.image_shape
    found = [find_spectrum(operator, Scale(), shape, make_generator("cpu", 0, seed)).hidden for seed in range(8)]
    estimates = torch.tensor(found)
    assert abs(float(estimates.mean()) - exact.hidden) < 4 * float(estimates.std()) / 8**0.5 + 1


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("symmetry", [None, Flip()])
def test_hidden_directions_are_never_seen(name, symmetry, by_lanczos):
    operator = OPERATORS[name]()
    for found in (by_matrix(operator, symmetry), by_lanczos(operator, symmetry)):
        if found.hidden < 0.5:
            assert len(found.directions) == 0
            continue
        assert len(found.directions) > 0
        v = found.directions.double()
        torch.testing.assert_close(v.flatten(1).norm(dim=1), torch.ones(len(v)).double(), rtol=0, atol=1e-5)
        for a in range(operator.count or 1):
            seen = operator.select(torch.tensor([a])).A(v)
            moved = operator.select(torch.tensor([a])).A(v if symmetry is None else v.flip(-1))
            assert float(seen.norm()) < 1e-3
            assert float(moved.norm()) < 1e-3


def test_the_part_of_a_frequency_that_is_never_seen_is_that_of_its_waves():
    found = by_matrix(multiplier(columns(8, 0, 1)), None)
    assert set(map(tuple, hidden_frequencies(found).tolist())) == numbers_of(~mirrored(columns(8, 0, 1)))
    null = found.directions.reshape(len(found.directions), -1)
    for ky, kx, hidden in ((0, 1, False), (2, 3, True), (1, 2, True), (3, 0, False)):
        energy = found.fourier[ky, kx]
        assert float(energy) == pytest.approx(float(hidden), abs=1e-9)
        if not hidden:
            assert float((null @ wave(8, ky, kx).flatten()).norm()) < 1e-9
    assert float(found.fourier.sum()) == pytest.approx(found.hidden)
    assert float(found.pixels.sum()) == pytest.approx(found.hidden)


def test_a_constant_that_is_seen_a_little():
    h = torch.ones(8, 8)
    h[0, 0] = 0.2
    assert by_matrix(multiplier(h), None).constant == pytest.approx(0.04)
    assert by_matrix(multiplier(h), Quarter()).constant == pytest.approx(0.04)


def test_the_tolerance_is_relative_to_the_largest():
    h = torch.ones(8, 8)
    h[0, 1] = h[0, -1] = 0.02  # 4e-4 of the largest eigenvalue
    h[0, 2] = h[0, -2] = 0.05  # 2.5e-3
    found = by_matrix(multiplier(100 * h), None)
    assert set(map(tuple, hidden_frequencies(found).tolist())) == {(0, 1), (0, -1)}


def test_chance_is_allowed_for_where_a_sample_stands_for_the_group():
    def found(complete, hidden, least, judged=10_000):
        eigenvalues, zeros = torch.tensor([least, 1.0]), torch.zeros(4, 4)
        return Spectrum(eigenvalues, judged, hidden, zeros, zeros, torch.zeros(0, 1, 4, 4), 1.0, False, complete)

    assert found(True, 0.0, 0.5).full
    assert not found(True, 0.3, 0.0).full  # one direction, its dimension estimated low
    assert found(False, 9.0, 0.0).full
    assert not found(False, 11.0, 0.0).full
    assert not found(False, 1.0, 0.0, judged=100).full


# --- equivariance


@pytest.mark.parametrize(
    ("operator", "symmetry", "expected"),
    [
        (multiplier(columns(16, 0, 1, 4)), Shift(), True),
        (multiplier(columns(16, 0, 1, -1)), Flip(), True),
        (multiplier(columns(16, 0, 1, 4)), Quarter(), False),
        (multiplier(columns(16, 0, 1, 4)), Rotate(), False),
        (inpainting(random_mask(16, 16, 0.5, make_generator("cpu", 1))), Shift(), False),
        (inpainting(random_mask(16, 16, 0.5, make_generator("cpu", 1))), Rotate(), False),
        (inpainting(random_mask(16, 16, 0.5, make_generator("cpu", 1))), Amplitude(), True),
        (microscope(32, 5e3), Rotate(), True),
        (microscope(32, 5e3, 9e3), Shift(), True),
        (microscope(32, 5e3), Scale(), False),
        (multiplier(torch.exp(-(radius(16) ** 2) / 20)), Rotate(), True),
    ],
)
def test_what_commutes(operator, symmetry, expected):
    gap = equivariance_gap(operator, symmetry, operator.image_shape, make_generator("cpu", 1))
    assert commutes(gap, symmetry) == expected
    if expected and not symmetry.interpolates:
        assert gap < 1e-9
    if not expected:
        assert gap > (0.1 if symmetry.interpolates else 0.3)


def test_the_gap_of_an_exact_symmetry_is_its_definition():
    """With one flip only, both sides can be written out."""
    operator = inpainting(MASK)

    class Across(Flip):
        def draw(self, x, generator):
            return super().draw(x, generator) * 0 + torch.tensor([0, 1]).to(x)

    gap = equivariance_gap(operator, Across(), (1, 8, 8), make_generator("cpu", 1))
    differ = (MASK.flip(-1) != MASK).double().mean()
    expected = (differ / MASK.double().mean() / 2).sqrt()  # |x - x flipped|^2 = 2 |x|^2
    assert gap == pytest.approx(float(expected), rel=0.05)


# --- names


def hidden_spectrum(where, channels=1, pixels=None):
    """A spectrum that hides the frequencies `where` (H, W)."""
    shares = where.double()
    return Spectrum(
        torch.tensor([0.0, 1.0]),
        shares.numel() * channels,
        float(shares.nansum()) * channels,
        shares,
        torch.full_like(shares, 0.5) if pixels is None else pixels,
        torch.zeros(0, channels, *shares.shape),
        1.0,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (columns(8, 2, 3) > 0, "16 of 64 frequencies (kx = 2 to 3)"),
        ((columns(8, 2, -2) > 0).T, "16 of 64 frequencies (ky = -2, 2)"),
        ((columns(8, 1, 3) * columns(8, -1, 0).T) > 0, "4 of 64 frequencies (ky = -1 to 0 and kx = 1, 3)"),
        (radius(8) > 2.5, "of 64 frequencies (radii 3 to 6 cycles per image)"),
        (torch.ones(8, 8) > 0, "64 of 64 frequencies (all)"),
    ],
)
def test_names_of_frequencies(where, name):
    assert name in name_hidden(hidden_spectrum(where))
    assert name in name_hidden(hidden_spectrum(where, channels=3))


def test_frequencies_without_a_pattern_are_listed_lowest_first():
    where = torch.zeros(16, 16, dtype=torch.bool)
    for ky, kx in ((1, 2), (-3, 5), (0, 4)):
        where[ky, kx] = where[-ky, -kx] = True
    assert name_hidden(hidden_spectrum(where)) == "6 of 256 frequencies ((ky, kx) = (1, 2), (0, 4), (3, -5))"


def test_what_is_hidden_in_part():
    shares = torch.where(radius(16) > 3.5, 0.6, 0.1)
    found = hidden_spectrum(shares)
    assert f"{float(shares.sum()):.0f} of 256 dimensions, most of the frequencies of radii 4 to 11" in name_hidden(
        found
    )
    assert name_hidden(hidden_spectrum(torch.full((16, 16), 0.3))) == "77 of 256 dimensions"
    full = hidden_spectrum(torch.zeros(4, 4))
    object.__setattr__(full, "eigenvalues", torch.ones(2))
    assert name_hidden(full) == "nothing"


def test_the_time_that_it_takes_is_told_by_some_images_through_a_and_back():
    """Quarter turns of 4096 pixels: 4 images go through A together, 40 times."""

    class Slow(type(inpainting(MASK))):
        def A(self, x):
            time.sleep(0.05)
            return super().A(x)

    slow = inpainting(random_mask(64, 64, 0.5, make_generator("cpu", 1)))
    slow.__class__ = Slow
    assert seconds_needed(slow, make_symmetry(["quarter"]), (1, 64, 64), make_generator("cpu", 0)) >= 40 * 0.05
    small = inpainting(MASK)
    small.__class__ = Slow
    assert seconds_needed(small, make_symmetry(["quarter"]), (1, 8, 8), make_generator("cpu", 0)) == 0
