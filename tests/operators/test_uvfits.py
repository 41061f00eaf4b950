"""UVFITS: small files written here with astropy are read back exactly, in every layout that occurs, and errors are
named."""

import sys

import numpy as np
import pytest
import torch
from astropy.io import fits

from unveil.config import parse_config
from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.instruments.interferometry import InterferometrySection
from unveil.instruments.interferometry.operator import MICROARCSECOND
from unveil.operators import build_operator, interferometry, read_uvfits, whiten
from unveil.runs.noise import find_noise
from unveil.training.setup import open_operator

FREQUENCY, WIDTH = 227e9, 2e9
IF_OFFSETS = (0.0, 4e9)
U = np.array([0.010, -0.020, 0.015, 0.0])
"""Seconds, along r_1 - r_2."""
V = np.array([0.005, 0.012, -0.018, 0.0])
BASELINES = np.array([256 * 1 + 2, 256 * 1 + 3, 256 * 3 + 2, 256 * 2 + 2.0])


def cube(stokes, ifs=1, channels=1):
    """(G, DEC, RA, IF, FREQ, STOKES, 3): random visibilities, weights from 1 to 5."""
    generator = np.random.default_rng(0)
    data = generator.standard_normal((4, 1, 1, ifs, channels, stokes, 3))
    data[..., 2] = 1 + 4 * generator.random(data.shape[:-1])
    return data


def write(path, data, first_stokes=-1, names=("UU---SIN", "VV---SIN"), without=(), axes=None, frqsel=None, extra=None):
    """A random-groups file as AIPS lays it out; `axes` renames the CTYPEs of the FITS axes 2, 3, ...

    extra: further parameters, or others than usual.
    """
    parameters = {names[0]: U, names[1]: V, "WW---SIN": 0 * U, "BASELINE": BASELINES, "DATE": 2457850.0 + 0 * U}
    if frqsel is not None:
        parameters["FREQSEL"] = frqsel
    parameters.update(extra or {})
    parameters = {name: value for name, value in parameters.items() if name not in without}
    groups = fits.GroupData(data, bitpix=-64, parnames=list(parameters), pardata=list(parameters.values()))
    hdu = fits.GroupsHDU(groups)
    axes = axes or ["COMPLEX", "STOKES", "FREQ", "IF", "RA", "DEC"]
    values = {"STOKES": (first_stokes, 1, -1), "FREQ": (FREQUENCY + WIDTH, 2, WIDTH)}
    for k, name in enumerate(axes, 2):
        hdu.header[f"CTYPE{k}"] = name
        keys = zip(("CRVAL", "CRPIX", "CDELT"), values.get(name, (1, 1, 1)))
        hdu.header.update({f"{key}{k}": float(value) for key, value in keys})
    antennas = fits.BinTableHDU.from_columns(
        [
            fits.Column("ANNAME", "8A", array=["ALMA", "LMT", "SMA"]),
            fits.Column("NOSTA", "1J", array=[1, 2, 3]),
        ],
        name="AIPS AN",
    )
    ifs = data.shape[3] if "IF" in axes else 1
    rows = [np.array(IF_OFFSETS[:ifs]), 100e9 + np.array(IF_OFFSETS[:ifs])]
    frequencies = fits.BinTableHDU.from_columns(
        [fits.Column("FRQSEL", "1J", array=[1, 2]), fits.Column("IF FREQ", f"{ifs}D", array=np.array(rows))],
        name="AIPS FQ",
    )
    fits.HDUList([hdu, antennas, frequencies]).writeto(path)
    return path


def complex_part(data, stokes):
    return data[..., stokes, 0] + 1j * data[..., stokes, 1]


def test_a_file_is_read_back_exactly(tmp_path):
    """Stokes I = (RR + LL) / 2 with sigma^2 = (1 / w_R + 1 / w_L) / 4, (u, v) reversed, the last group a station
    alone."""
    data = cube(stokes=4)
    coverage, visibilities = read_uvfits(write(tmp_path / "a.uvfits", data))
    np.testing.assert_allclose(coverage.u, -U[:3] * FREQUENCY, rtol=1e-14)
    np.testing.assert_allclose(coverage.v, -V[:3] * FREQUENCY, rtol=1e-14)
    assert coverage.pairs == (("ALMA", "LMT"), ("ALMA", "SMA"), ("SMA", "LMT"))
    data = data[:3, 0, 0, 0, 0]
    expected = (complex_part(data, 0) + complex_part(data, 1)) / 2
    assert np.array_equal(visibilities.numpy(), expected)
    np.testing.assert_allclose(coverage.sigma, (1 / data[:, 0, 2] + 1 / data[:, 1, 2]) ** 0.5 / 2, rtol=1e-14)


def test_several_ifs_and_channels(tmp_path):
    data = cube(stokes=2, ifs=2, channels=3)
    coverage, visibilities = read_uvfits(write(tmp_path / "a.uvfits", data))
    frequency = FREQUENCY + np.array(IF_OFFSETS)[:, None] + WIDTH * np.arange(3)
    np.testing.assert_allclose(coverage.u, -(U[:3, None, None] * frequency).ravel(), rtol=1e-14)
    np.testing.assert_allclose(coverage.v, -(V[:3, None, None] * frequency).ravel(), rtol=1e-14)
    assert coverage.pairs[:7] == (("ALMA", "LMT"),) * 6 + (("ALMA", "SMA"),)
    expected = (complex_part(data, 0) + complex_part(data, 1))[:3, 0, 0] / 2
    assert np.array_equal(visibilities.numpy(), expected.ravel())


def test_the_row_of_the_frequency_table_is_that_of_each_group(tmp_path):
    path = write(tmp_path / "a.uvfits", cube(stokes=2, ifs=2), frqsel=np.array([1.0, 2.0, 1.0, 1.0]))
    coverage, _ = read_uvfits(path)
    offset = np.array([[0, 4e9], [100e9, 104e9], [0, 4e9]])
    np.testing.assert_allclose(coverage.u, -(U[:3, None] * (FREQUENCY + offset)).ravel(), rtol=1e-14)


@pytest.mark.parametrize("names", [("UU", "VV"), ("UU--", "VV--"), ("UU---NCP", "VV---NCP")])
def test_the_names_of_u_and_v(names, tmp_path):
    coverage, _ = read_uvfits(write(tmp_path / "a.uvfits", cube(stokes=2), names=names))
    np.testing.assert_allclose(coverage.u, -U[:3] * FREQUENCY, rtol=1e-14)


def test_a_file_without_an_axis_of_ifs_and_without_baselines(tmp_path):
    """The names of the stations are then unknown, and a station alone is known by u = v = 0."""
    data = cube(stokes=2, channels=2)
    path = write(
        tmp_path / "a.uvfits",
        data[:, 0],
        without=["BASELINE"],
        axes=["COMPLEX", "STOKES", "FREQ", "RA", "DEC"],
    )
    coverage, visibilities = read_uvfits(path)
    assert coverage.pairs == ()
    assert np.array_equal(visibilities.numpy(), (complex_part(data, 0) + complex_part(data, 1))[:3].ravel() / 2)


FROM_ONE = [(1, 2), (1, 3), (3, 2), (2, 2)]
FROM_ZERO = [(0, 1), (0, 2), (2, 1), (0, 0)]


@pytest.mark.parametrize(
    ("stations", "code"),
    [
        (FROM_ONE, None),
        (FROM_ZERO, None),
        (FROM_ZERO, lambda i, j: 256 * i + j),
        (FROM_ONE, lambda i, j: 2048 * i + j + 65536),
        ([(300, 2), (300, 301), (3, 302), (299, 299)], lambda i, j: 2048 * i + j + 65536),
        (FROM_ZERO, lambda i, j: 2048 * i + j + 65536),
    ],
    ids=["columns", "columns from 0", "from 0", "2048", "more than 255", "2048 from 0"],
)
def test_stations_alone_are_dropped_however_they_are_numbered(stations, code, tmp_path):
    """What a station measures with itself is its total power, a hundred times the source: never a visibility."""
    data = cube(stokes=2)
    data[3, ..., :2] *= 100
    first, second = np.array(stations, float).T
    extra = {"BASELINE": code(first, second)} if code else {"ANTENNA1": first, "ANTENNA2": second}
    path = write(tmp_path / "a.uvfits", data, without=[] if code else ["BASELINE"], extra=extra)
    coverage, visibilities = read_uvfits(path)
    assert np.array_equal(visibilities.numpy(), (complex_part(data, 0) + complex_part(data, 1))[:3].ravel() / 2)
    assert len(coverage.pairs) == 3
    if stations == FROM_ONE:
        assert coverage.pairs == (("ALMA", "LMT"), ("ALMA", "SMA"), ("SMA", "LMT"))
    else:
        assert coverage.pairs[0] != coverage.pairs[1]


def test_flagged_data_are_dropped(tmp_path):
    """One hand with a weight <= 0 or a value that is not finite: the other alone. Both: nothing."""
    data = cube(stokes=2)
    data[0, ..., 0, 2] = -1.0
    data[1, ..., 1, 0] = np.inf
    data[2, ..., 0, 2], data[2, ..., 1, 2] = np.nan, 0.0
    coverage, visibilities = read_uvfits(write(tmp_path / "a.uvfits", data))
    data = data[:, 0, 0, 0, 0]
    assert np.array_equal(visibilities.numpy(), [complex_part(data, 1)[0], complex_part(data, 0)[1]])
    np.testing.assert_allclose(coverage.sigma, [data[0, 1, 2] ** -0.5, data[1, 0, 2] ** -0.5], rtol=1e-14)
    np.testing.assert_allclose(coverage.u, -U[:2] * FREQUENCY, rtol=1e-14)
    assert coverage.pairs == (("ALMA", "LMT"), ("ALMA", "SMA"))


def test_linear_hands_and_stokes_i(tmp_path):
    """Of XX and YY one alone is no Stokes I; a file of Stokes I is taken as it is."""
    data = cube(stokes=2)
    data[0, ..., 0, 2] = 0.0
    _, linear = read_uvfits(write(tmp_path / "linear.uvfits", data, first_stokes=-5))
    assert np.array_equal(linear.numpy(), (complex_part(data, 0) + complex_part(data, 1))[1:3].ravel() / 2)
    coverage, intensity = read_uvfits(write(tmp_path / "i.uvfits", data, first_stokes=1))
    assert np.array_equal(intensity.numpy(), complex_part(data, 0)[1:3].ravel())
    np.testing.assert_allclose(coverage.sigma, data[1:3, ..., 0, 2].ravel() ** -0.5, rtol=1e-14)


def test_a_source_to_the_north_east_stays_there(tmp_path):
    """A file says exp(+2 pi i (u l + v m)), (u, v) along r_1 - r_2: read, A predicts it from the pixel up and to the
    left."""
    spacing = 4.0 * MICROARCSECOND
    phase = 2 * np.pi * FREQUENCY * (U * 3 * spacing + V * 2 * spacing)
    data = np.stack([np.cos(phase), np.sin(phase), 0 * phase + 1], axis=-1).reshape(4, 1, 1, 1, 1, 1, 3)
    coverage, visibilities = read_uvfits(write(tmp_path / "a.uvfits", data, first_stokes=1))
    x = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    x[..., 2, 1] = 1.0
    operator = interferometry(coverage, 9, 36.0)
    y = operator.A(x)
    assert operator.sigma == 1.0
    torch.testing.assert_close(torch.complex(y[0, 0, 0], y[0, 1, 0]), visibilities)
    described = InterferometrySection(pixels=9, field_of_view=36.0, uvfits=str(tmp_path / "a.uvfits"))
    torch.testing.assert_close(build_operator(described, (2, 1, 3), 1).A(x), y)
    with pytest.raises(UnveilError, match=r"operator\.uvfits: .*a\.uvfits has 3 visibilities"):
        build_operator(described, (2, 1, 4), 1)


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": ["UU---SIN"]}, "has no parameter UU, only VV---SIN, WW---SIN, BASELINE, DATE"),
        ({"without": ["VV---SIN"]}, "has no parameter VV"),
        ({"names": ("UU-L-SIN", "VV-L-SIN")}, "has no parameter UU"),
        ({"names": ("UU-L", "VV-L")}, "has no parameter UU"),
        ({"axes": ["COMPLEX", "STOKES", "TIME", "IF", "RA", "DEC"]}, "has no axis FREQ, only COMPLEX, STOKES"),
        ({"axes": ["COMPLEX", "BEAM", "FREQ", "IF", "RA", "DEC"]}, "has no axis STOKES"),
        ({"first_stokes": -3}, "has no Stokes I, only STOKES -3, -4"),
        ({"first_stokes": -6}, "has no Stokes I, only STOKES -6, -7"),
    ],
)
def test_what_is_missing_is_named(options, message, tmp_path):
    with pytest.raises(UnveilError, match=message):
        read_uvfits(write(tmp_path / "a.uvfits", cube(stokes=2), **options))


@pytest.mark.parametrize(("times", "message"), [(FREQUENCY, "up to 4.54e.09 seconds of light"), (0, "up to 0 seconds")])
def test_baselines_in_another_unit(times, message, tmp_path):
    write(tmp_path / "a.uvfits", cube(stokes=2), extra={"UU---SIN": times * U, "VV---SIN": times * V})
    with pytest.raises(UnveilError, match=message):
        read_uvfits(tmp_path / "a.uvfits")


def test_a_header_without_its_frequency(tmp_path):
    path = write(tmp_path / "a.uvfits", cube(stokes=2))
    fits.setval(path, "CRVAL4", value=0.0)
    fits.setval(path, "CDELT4", value=0.0)
    with pytest.raises(UnveilError, match="has the frequency 0 hertz"):
        read_uvfits(path)


def test_no_weights_or_all_flagged(tmp_path):
    data = cube(stokes=2)
    with pytest.raises(UnveilError, match="without weights"):
        read_uvfits(write(tmp_path / "a.uvfits", data[..., :2]))
    data[..., 2] = -1
    with pytest.raises(UnveilError, match="no unflagged visibility"):
        read_uvfits(write(tmp_path / "b.uvfits", data))


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_files_that_are_not_uvfits(tmp_path):
    with pytest.raises(UnveilError, match="does not exist"):
        read_uvfits(tmp_path / "missing.uvfits")
    (tmp_path / "text.uvfits").write_text("u v real imaginary\n")
    with pytest.raises(UnveilError, match="cannot be read as FITS"):
        read_uvfits(tmp_path / "text.uvfits")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(UnveilError, match="without random groups"):
        read_uvfits(tmp_path / "image.fits")
    whole = write(tmp_path / "whole.uvfits", cube(stokes=2)).read_bytes()
    (tmp_path / "cut.uvfits").write_bytes(whole[: 2880 * 2])
    with pytest.raises(UnveilError, match="cannot be read as FITS"):
        read_uvfits(tmp_path / "cut.uvfits")


def test_without_astropy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "astropy", None)
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(UnveilError, match=r"pip install 'unveil\[astro\]'"):
        read_uvfits(tmp_path / "a.uvfits")


def test_a_file_is_a_measurement_and_its_coverage_tells_the_level(tmp_path):
    """As data it is the whitened visibilities, in float32; the operator of the same file knows their noise, and so does
    a run."""
    path = write(tmp_path / "a.uvfits", cube(stokes=4))
    coverage, visibilities = read_uvfits(path)
    source = open_images(path)
    assert source.shape(0) == (2, 1, 3)
    torch.testing.assert_close(source.read(0), whiten(visibilities, coverage).float(), rtol=1e-6, atol=0)
    system = {"kind": "interferometry", "uvfits": str(path), "pixels": 16, "field_of_view": 1.0}
    config = parse_config({"data": {"path": str(path), "validation": 0.0}, "operator": system}, "test")
    operator = open_operator(config, source)
    assert operator.sigma == coverage.level
    assert float(find_noise(config, source, operator).sigma) == pytest.approx(coverage.level)
    scaled = parse_config(
        {"data": {"path": str(path), "value_range": (0.0, 4.0)}, "operator": system, "noise": {"sigma": "estimate"}},
        "test",
    )
    assert float(find_noise(scaled, source, operator).sigma) == pytest.approx(coverage.level / 4), (
        "that of the quotients"
    )
    with pytest.raises(UnveilError, match="leave axes out"):
        open_images(path, axes="NHW").read(0)


def test_observations_at_other_points_are_told_from_those_of_the_system(tmp_path):
    """Another day: the Earth turned. Another band: other frequencies, and other noise. The same again: it fits."""
    data = cube(stokes=2)
    first = write(tmp_path / "day1.uvfits", data)
    write(tmp_path / "day1b.uvfits", np.concatenate([data[..., :2] + 1, data[..., 2:]], -1))
    write(tmp_path / "day2.uvfits", data, extra={"UU---SIN": U * np.cos(0.5), "VV---SIN": V})
    noisier = data.copy()
    noisier[0, ..., 2] *= 0.5
    write(tmp_path / "band.uvfits", noisier)
    data[2, ..., 2] = 0
    write(tmp_path / "flagged.uvfits", data)
    width = 0.4 / (abs(U).max() * FREQUENCY) / MICROARCSECOND * 4
    system = {"kind": "interferometry", "uvfits": str(first), "pixels": 4, "field_of_view": width}

    def opened(name):
        config = parse_config({"data": {"path": str(tmp_path / name)}, "operator": system}, "test")
        return open_operator(config, open_images(config.data.path))

    opened("day1.uvfits"), opened("day1b.uvfits")
    gap = FREQUENCY * 0.02 * (1 - np.cos(0.5))
    with pytest.raises(
        UnveilError, match=rf"day2\.uvfits: its baselines \(u, v\) are not .*by up to {gap:.3g} ".replace("+", r"\+")
    ):
        opened("day2.uvfits")
    with pytest.raises(UnveilError, match=r"band\.uvfits: the noise of its visibilities is not that of"):
        opened("band.uvfits")
    with pytest.raises(UnveilError, match=r"flagged\.uvfits has 2 visibilities, and operator\.uvfits: .* has 3"):
        opened("flagged.uvfits")
    for name in ("band.uvfits", "flagged.uvfits"):
        (tmp_path / name).unlink()
    with pytest.raises(UnveilError, match=r"day2\.uvfits"):  # one of several
        opened(".")


def test_other_extensions_of_the_same_files(tmp_path):
    """CASA and Difmap write .uvf, others .fits, which may hold an image as well."""
    whole = open_images(write(tmp_path / "a.uvfits", cube(stokes=2))).read(0)
    for name in ("a.uvf", "a.UVF", "a.fits"):
        (tmp_path / name).write_bytes((tmp_path / "a.uvfits").read_bytes())
        assert torch.equal(open_images(tmp_path / name).read(0), whole)
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    assert open_images(tmp_path / "image.fits").shape(0) == (1, 4, 4)
