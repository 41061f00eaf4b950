"""Known answers of interferometry: points and Gaussians on the sky, baselines on the turning Earth, noise and
whitening."""

import math

import numpy as np
import pytest
import torch

from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.instruments.interferometry import InterferometrySection, UVTrack
from unveil.instruments.interferometry.operator import CUTOFF, MICROARCSECOND
from unveil.instruments.interferometry.uvtrack import LIGHT, thermal_noise
from unveil.operators import Coverage, Station, build_operator, interferometry, read_stations, uv_track, whiten
from unveil.random import make_generator, normal

FREQUENCY = 230e9
LONGEST = 8e9
"""Wavelengths."""


def scattered(count, device, sigma=None):
    """A coverage of random points, whose noise is the same everywhere unless given."""
    generator = make_generator(device, 1)
    u, v = (2 * torch.rand(2, count, generator=generator, dtype=torch.float64, device=device) - 1) * LONGEST
    return Coverage(u, v, torch.full_like(u, 0.01) if sigma is None else sigma.to(u))


def visibilities(coverage, x, field_of_view, **options):
    """A x as complex (B, M), the whitening undone."""
    operator = interferometry(coverage, x.shape[-1], field_of_view, **options)
    y = operator.A(x) * coverage.sigma / operator.sigma
    return torch.complex(y[:, 0, 0], y[:, 1, 0])


def point(pixels, row, column, device, flux=1.0):
    x = torch.zeros(1, 1, pixels, pixels, dtype=torch.float64, device=device)
    x[..., row, column] = flux
    return x


def track(stations, **changes):
    options = {
        "right_ascension": 5.0,
        "declination": 30.0,
        "frequency": FREQUENCY,
        "start": 0.0,
        "stop": 23.0,
        "cadence": 60.0,
        "bandwidth": 2e9,
        "integration": 10.0,
        "minimum_elevation": -90.0,
    }
    return uv_track(stations, **{**options, **changes})


A, B, C = (
    Station("A", (5.1e6, -3.0e5, 3.8e6), 1400.0),
    Station("B", (-1.8e6, -5.0e6, 3.4e6), 5000.0),
    Station("C", (2.2e6, -5.4e6, -2.5e6), 90.0),
)

# --- the sky


def test_a_point_at_the_centre_has_its_flux_everywhere(device):
    coverage = scattered(40, device)
    v = visibilities(coverage, point(9, 4, 4, device, flux=2.5), 80.0)
    torch.testing.assert_close(v, torch.full_like(v, 2.5), rtol=0, atol=1e-12)


def test_a_point_to_the_north_east_has_the_stated_phase(device):
    """Two rows up and three columns to the left of the centre: m = 2 D, l = 3 D, V = exp(-2 pi i (u l + v m))."""
    coverage = scattered(40, device)
    spacing = 80.0 / 9 * math.pi / 180 / 3600e6
    v = visibilities(coverage, point(9, 2, 1, device), 80.0)
    expected = torch.exp(-2j * math.pi * (coverage.u * 3 * spacing + coverage.v * 2 * spacing))
    torch.testing.assert_close(v[0], expected, rtol=0, atol=1e-10)


def test_the_phase_is_that_of_the_delay_between_the_stations(device):
    """E_i E_j* of a source off the centre, from directions and positions alone: no (u, v), no l and m."""
    coverage = track([A, B], stop=0.0)
    right_ascension, declination, step = 5.0 * math.pi / 12, math.radians(30.0), 40.0 * MICROARCSECOND

    def direction(ra, dec):
        return np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])

    # At GMST 0 longitude 0 looks at right ascension 0: sky and Earth have the same axes.
    moved = direction(right_ascension + step / math.cos(declination), declination + step / 2)
    earlier = (np.array(A.position) - B.position) @ (moved - direction(right_ascension, declination)) / LIGHT
    spacing = 10.0  # 9 pixels in 90 microarcseconds; 40 to the east: 4 columns to the left, 20 to the north: 2 rows up
    v = visibilities(coverage, point(9, 2, 0, "cpu"), 9 * spacing)
    expected = np.exp(2j * math.pi * FREQUENCY * earlier)
    assert abs(v[0, 0].item() - expected) < 1e-5  # rounding of a difference of 2e-10 between unit vectors
    assert abs(expected.imag) > 0.1


def test_a_gaussian_source_has_its_analytic_visibility(device):
    """exp(-2 pi^2 s^2 (u^2 + v^2)) of a Gaussian of deviation s: sampled finely, exact but for its tails."""
    coverage, pixels, field_of_view, s = scattered(40, device), 64, 160.0, 8.0 * MICROARCSECOND
    at = (torch.arange(pixels, dtype=torch.float64, device=device) - (pixels - 1) / 2) * field_of_view / pixels
    profile = torch.exp(-((at * MICROARCSECOND) ** 2) / (2 * s**2))
    x = profile[:, None] * profile
    v = visibilities(coverage, (x / x.sum())[None, None], field_of_view)
    expected = torch.exp(-2 * math.pi**2 * s**2 * (coverage.u**2 + coverage.v**2))
    assert expected.max() > 0.5
    torch.testing.assert_close(v[0], expected.to(v), rtol=0, atol=1e-9)


def test_brightness_scales_the_image(device):
    coverage = scattered(5, device)
    x = point(9, 4, 4, device)
    torch.testing.assert_close(visibilities(coverage, x, 80.0, brightness=0.3), 0.3 * visibilities(coverage, x, 80.0))


# --- the operator


@pytest.mark.parametrize("count", [15, 100])
def test_adjoint_and_pseudo_inverse(count, device):
    """Fewer rows than pixels, and more: both ways of finding A^+.

    The small field has singular values around the cut-off.
    """
    coverage = scattered(count, device, torch.linspace(0.01, 0.03, count))
    operator = interferometry(coverage, 6, 25.0)
    eye = torch.eye(36, dtype=torch.float64, device=device).reshape(36, 1, 6, 6)
    matrix = operator.A(eye).flatten(1).T
    operator.check_adjoint(operator.A(eye), make_generator(device, 2), tolerance=1e-12)
    share = torch.linalg.svdvals(matrix) / torch.linalg.matrix_norm(matrix, 2)
    assert (share < CUTOFF / 2).any()
    assert ((share > 2 * CUTOFF) & (share < 10 * CUTOFF)).any()
    expected = torch.linalg.pinv(matrix, rtol=CUTOFF)
    y = normal(torch.empty(3, 2, 1, count, dtype=torch.float64, device=device), make_generator(device, 3))
    for _ in range(2):  # found, then remembered
        torch.testing.assert_close(operator.A_dagger(y).flatten(1), y.flatten(1) @ expected.T, rtol=0, atol=1e-8)


def test_the_pseudo_inverse_leaves_out_small_singular_values(device):
    """Two points so close that their difference is noise: of four rows, only the two common ones are inverted."""
    u = torch.tensor([4e9, 4e9 * (1 + 1e-5)], dtype=torch.float64, device=device)
    operator = interferometry(Coverage(u, u, torch.ones_like(u)), 6, 60.0)
    y = torch.tensor([1.0, -1.0], dtype=torch.float64, device=device).expand(1, 2, 1, 2)
    assert operator.A_dagger(y).norm() < 1e-4 * operator.A_dagger(y.abs()).norm()


def test_precision_and_gradient(device, dtype):
    coverage = scattered(20, device)
    operator = interferometry(coverage, 8, 60.0)
    x = torch.rand(2, 1, 8, 8, generator=make_generator(device, 4), dtype=dtype, device=device).requires_grad_()
    y = operator.A(x)
    assert y.shape == (2, 2, 1, 20)
    assert y.dtype == operator.A_adjoint(y).dtype == operator.A_dagger(y).dtype == dtype
    exact = operator.A(x.detach().double())
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=100 * torch.finfo(dtype).eps)
    (gradient,) = torch.autograd.grad((y * exact.to(dtype)).sum(), x)
    torch.testing.assert_close(gradient, operator.A_adjoint(exact.to(dtype)), rtol=1e-4, atol=1e-4)


# --- noise


def test_the_thermal_noise_is_that_of_the_radiometer_equation():
    """A worked number: SEFDs of 90 and 5000 Jy, 4 GHz, 10 s: sqrt(450000 / 8e10) / 0.88 = 2.695 mJy."""
    sigma = thermal_noise(torch.tensor(90.0), torch.tensor(5000.0), 4e9, 10.0)
    assert abs(sigma.item() - 2.6951e-3) < 1e-7
    coverage = track([A, B, C], stop=0.0)
    assert coverage.pairs == (("A", "B"), ("A", "C"), ("B", "C"))
    expected = [(i * j / (2 * 2e9 * 10.0)) ** 0.5 / 0.88 for i, j in ((1400, 5000), (1400, 90), (5000, 90))]
    torch.testing.assert_close(coverage.sigma, torch.tensor(expected, dtype=torch.float64))


def test_whitened_noise_has_one_level(device):
    sigma = 0.01 * torch.tensor([1.0, 2.0, 5.0, 20.0], dtype=torch.float64)
    coverage = scattered(4, device, sigma)
    assert abs(coverage.level - 0.01 * (4 / (1 + 1 / 4 + 1 / 25 + 1 / 400)) ** 0.5) < 1e-15
    draws, generator = 20_000, make_generator(device, 5)
    noise = normal(torch.empty(2, draws, 4, dtype=torch.float64, device=device), generator) * sigma.to(device)
    y = whiten(torch.complex(*noise), coverage)
    assert y.shape == (draws, 2, 1, 4)
    ratio = y.var(0) / coverage.level**2
    assert (ratio - 1).abs().max() < 4 * (2 / draws) ** 0.5


def test_whitening_is_the_same_in_a_and_in_y(device):
    """Without noise y = A x, and the rows keep their mean size: |A|_F^2 = M H W."""
    coverage = scattered(30, device, torch.linspace(0.01, 0.1, 30))
    x = torch.rand(2, 1, 8, 8, generator=make_generator(device, 6), dtype=torch.float64, device=device)
    operator = interferometry(coverage, 8, 60.0)
    equal = Coverage(coverage.u, coverage.v, torch.ones_like(coverage.u))
    torch.testing.assert_close(whiten(visibilities(equal, x, 60.0), coverage), operator.A(x))
    eye = torch.eye(64, dtype=torch.float64, device=device).reshape(64, 1, 8, 8)
    assert operator.sigma == coverage.level
    assert abs(operator.A(eye).square().sum().item() - 30 * 64) < 1e-8


# --- baselines


def test_baselines_are_antisymmetric():
    there, back = track([A, B]), track([B, A])
    torch.testing.assert_close(there.u, -back.u)
    torch.testing.assert_close(there.v, -back.v)
    torch.testing.assert_close(there.sigma, back.sigma)


def test_an_east_west_baseline_at_the_pole_traces_a_circle():
    """At declination 90 the Earth turns in the plane of the sky: radius |b| / lambda, angle growing with the time."""
    b = 3e6
    west, east = Station("west", (6e6, 0.0, 1e6), 100.0), Station("east", (6e6, b, 1e6), 100.0)
    coverage = track([west, east], declination=90.0, right_ascension=2.0, start=2.0, stop=26.0, cadence=30.0)
    radius = b * FREQUENCY / LIGHT
    angle = 2 * math.pi * torch.arange(49, dtype=torch.float64) / 48
    torch.testing.assert_close(coverage.u, radius * angle.cos(), rtol=0, atol=1e-3)
    torch.testing.assert_close(coverage.v, radius * angle.sin(), rtol=0, atol=1e-3)


def test_a_polar_baseline_is_shortened_by_the_declination():
    """b along the Earth's axis: u = 0 and v = |b| cos(declination) / lambda at all times."""
    south, north = Station("south", (6e6, 0.0, -1e6), 100.0), Station("north", (6e6, 0.0, 1e6), 100.0)
    coverage = track([south, north], declination=60.0)
    torch.testing.assert_close(coverage.u, torch.zeros(24, dtype=torch.float64), rtol=0, atol=1e-3)
    expected = torch.full((24,), 2e6 * 0.5 * FREQUENCY / LIGHT, dtype=torch.float64)
    torch.testing.assert_close(coverage.v, expected)


def test_stations_see_the_source_above_their_horizon():
    """On the equator at longitude -90 degrees a source of declination 0 culminates at GMST = right ascension + 6 h,
    and is above 30 degrees for 4 hours to each side."""
    pair = [Station("P", (0.0, -6e6, 0.0), 100.0), Station("Q", (1.0, -6e6, 0.0), 100.0)]
    options = {"declination": 0.0, "right_ascension": 4.0, "minimum_elevation": 30.0, "cadence": 6.0}
    assert len(track(pair, start=6.05, stop=13.95, **options)) == 80
    assert len(track(pair, start=0.05, stop=23.95, **options)) == 80
    south_pole = Station("S", (0.0, 0.0, -6e6), 100.0)
    with pytest.raises(UnveilError, match=r"no two of the 2 stations .* above 10 degrees .* elevation is 20\.0"):
        track([south_pole, Station("N", (0.0, 0.0, 6e6), 100.0)], declination=-20.0, minimum_elevation=10.0)


def test_only_pairs_that_both_see_the_source_measure():
    north = Station("N", (0.0, 0.0, 6e6), 100.0)
    others = [Station("S", (0.0, 0.0, -6e6), 100.0), Station("T", (1.0, 0.0, -6e6), 100.0)]
    coverage = track([others[0], north, others[1]], declination=-20.0, minimum_elevation=10.0)
    assert set(coverage.pairs) == {("S", "T")}
    assert len(coverage) == 24


# --- tables of stations

TABLE = """# NAME X Y Z SEFDR SEFDL, and more

A 5088967.9 -301681.6  3825015.8 1400 1500 1 -1 0
\tB   -1828796.2 -5054406.8 3427865.2 5e3# the noisy one
"""


def test_a_table_of_stations_is_read(tmp_path):
    file = tmp_path / "stations.txt"
    file.write_text("\ufeff" + TABLE.replace("\n", "\r\n"), encoding="utf-8")
    assert read_stations(file) == (
        Station("A", (5088967.9, -301681.6, 3825015.8), 1400.0),
        Station("B", (-1828796.2, -5054406.8, 3427865.2), 5000.0),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("C 1 2 3", "line 5: 'C 1 2 3' needs"),
        ("C 1 2 3 #90 4", "line 5"),
        ("C 1 2 three 4", "line 5"),
        ("C 1 2 nan 4", "line 5"),
        ("C 1 2 3 0", "SEFD > 0"),
        ("C 0 0 0 90", "line 5"),
        ("A 1 2 3 4", "line 5: 'A 1 2 3 4' repeats a station"),
    ],
)
def test_a_wrong_line_is_named(line, message, tmp_path):
    file = tmp_path / "stations.txt"
    file.write_text(TABLE + line + "\n")
    with pytest.raises(UnveilError, match=message):
        read_stations(file)


def test_unreadable_tables(tmp_path):
    with pytest.raises(UnveilError, match=r"missing\.txt: No such file"):
        read_stations(tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UnveilError, match="is not text"):
        read_stations(tmp_path / "binary.txt")
    (tmp_path / "one.txt").write_text("A 1 2 3 4\n")
    with pytest.raises(UnveilError, match="has 1 stations"):
        read_stations(tmp_path / "one.txt")


# --- errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frequency": 0.0}, "frequency must be"),
        ({"cadence": -1.0}, "cadence must be"),
        ({"bandwidth": math.inf}, "bandwidth must be"),
        ({"integration": 0.0}, "integration must be"),
        ({"declination": 91.0}, "declination must be"),
        ({"start": 22.0, "stop": 2.0}, "add 24 to stop"),
    ],
)
def test_wrong_tracks(changes, message):
    with pytest.raises(UnveilError, match=message):
        track([A, B], **changes)


def test_wrong_coverages_and_images():
    u = torch.ones(3, dtype=torch.float64)
    for v, sigma, message in (
        (u[:2], u, "must be"),
        (u * math.nan, u, "finite"),
        (u, 0 * u, "sigma > 0"),
    ):
        with pytest.raises(UnveilError, match=message):
            Coverage(u, v, sigma)
    with pytest.raises(UnveilError, match="no point"):
        Coverage(u[:0], u[:0], u[:0])
    with pytest.raises(UnveilError, match=r"must be complex \(\.\.\., 3\)"):
        whiten(torch.zeros(4, dtype=torch.complex64), Coverage(u, u, u))
    with pytest.raises(UnveilError, match="must be complex"):
        whiten(u, Coverage(u, u, u))
    with pytest.raises(UnveilError, match=r"too coarse .* at least 7 pixels"):
        interferometry(Coverage(8e9 * u, u, u), 6, 80.0)
    interferometry(Coverage(8e9 * u, u, u), 7, 80.0)
    with pytest.raises(UnveilError, match="field_of_view"):
        interferometry(Coverage(u, u, u), 6, 0.0)


# --- configurations


def system(tmp_path, **changes):
    file = tmp_path / "stations.txt"
    file.write_text("".join(f"{s.name} {' '.join(map(str, s.position))} {s.sefd}\n" for s in (A, B, C)))
    options = {"right_ascension": 5.0, "declination": 30.0, "frequency": FREQUENCY, "start": 0.0, "stop": 3.0}
    options |= {"cadence": 60.0, "bandwidth": 2e9, "integration": 10.0, "minimum_elevation": -90.0}
    return InterferometrySection(pixels=16, field_of_view=80.0, track=UVTrack(stations=str(file), **options), **changes)


def test_a_configuration_gives_the_problem_of_its_track(tmp_path):
    described = system(tmp_path, brightness=0.1)
    operator = build_operator(described, (2, 1, 12), 7)
    assert operator.image_shape == (1, 16, 16)
    expected = interferometry(track([A, B, C], stop=3.0), 16, 80.0, 0.1)
    x = torch.rand(1, 1, 16, 16, generator=make_generator("cpu", 7), dtype=torch.float64)
    torch.testing.assert_close(operator.A(x), expected.A(x))
    with pytest.raises(UnveilError, match=r"has 12 visibilities, .* shape \(1, 64, 64\).*store complex \(N, 1, 12\)"):
        build_operator(described, (1, 64, 64), 7)


def test_a_configuration_names_one_source_of_points(tmp_path):
    for changes in ({}, {"uvfits": "a.uvfits", "track": system(tmp_path).track}):
        with pytest.raises(ValueError, match="either uvfits or track"):
            InterferometrySection(pixels=16, field_of_view=80.0, **changes)


def test_stored_measurements_open_with_the_shape_of_the_problem(tmp_path):
    coverage = scattered(12, "cpu", torch.linspace(0.01, 0.02, 12))
    v = torch.randn(7, 12, generator=make_generator("cpu", 8), dtype=torch.complex128)
    y = whiten(v, coverage)
    np.save(tmp_path / "complex.npy", torch.complex(y[:, 0], y[:, 1]).numpy())
    np.save(tmp_path / "real.npy", y.numpy())
    for name in ("complex.npy", "real.npy"):
        opened = open_images(tmp_path / name)
        assert len(opened) == 7
        torch.testing.assert_close(opened.read(3), y[3].float())
