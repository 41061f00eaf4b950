"""Particles: the convolution with the CTF, its inverse, one defocus an image, and the tables and configuration they
come from."""

import math

import pytest
import torch

from unveil.config import parse_config
from unveil.errors import UnveilError
from unveil.instruments.cryoem import CryoEMSection
from unveil.instruments.cryoem.ctf_table import read_ctf_table
from unveil.instruments.cryoem.operator import CUTOFF
from unveil.instruments.registry import build_operator
from unveil.operators import Optics, ctf, particles
from unveil.random import make_generator, normal

KRIOS = {"pixel_size": 4.0, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.1}
ASTIGMATIC = Optics(**KRIOS, defocus_u=15e3, defocus_v=12e3, defocus_angle=30.0)


@pytest.fixture
def x(device):
    return normal(torch.empty(3, 1, 8, 11, dtype=torch.float64, device=device), make_generator(device, 1))


def test_a_wave_keeps_its_direction_and_gets_the_contrast(device):
    row, column = torch.arange(8.0, device=device)[:, None], torch.arange(11.0, device=device)
    wave = torch.cos(2 * math.pi * (3 * row / 8 - 2 * column / 11) + 0.4)[None, None].double()
    expected = wave * ctf((8, 11), ASTIGMATIC)[3, -2].to(wave)
    torch.testing.assert_close(particles((8, 11), ASTIGMATIC).A(wave), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 11), (8, 10), (7, 10)])
def test_it_is_its_own_adjoint_and_its_inverse_inverts(shape, device):
    operator = particles(shape, ASTIGMATIC)
    x = normal(torch.empty(2, 1, *shape, dtype=torch.float64, device=device), make_generator(device, 2))
    operator.check_adjoint(x, make_generator(device, 3), 1e-12)
    y = operator.A(x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(operator.A_adjoint(x), y)
    assert ctf(shape, ASTIGMATIC).abs().min() > CUTOFF
    torch.testing.assert_close(operator.A_dagger(y), x, rtol=0, atol=1e-10)


def test_the_inverse_leaves_out_what_is_not_measured(device):
    """Without amplitude contrast the mean is not measured."""
    operator = particles((8, 11), Optics(**{**KRIOS, "amplitude_contrast": 0.0}, defocus_u=15e3))
    x = normal(torch.empty(2, 1, 8, 11, dtype=torch.float64, device=device), make_generator(device, 2))
    back = operator.A_dagger(operator.A(x) + 5)
    torch.testing.assert_close(back, x - x.mean((2, 3), keepdim=True), rtol=0, atol=1e-10)


def test_each_image_has_its_own_defocus(x):
    defoci = torch.tensor([9e3, 15e3, 24e3])
    several = particles((8, 11), Optics(**KRIOS, defocus_u=defoci))
    assert several.count == 3
    which = torch.tensor([2, 0, 2], device=x.device)
    y = several.select(which).A(x)
    for b, k in enumerate(which.tolist()):
        one = particles((8, 11), Optics(**KRIOS, defocus_u=float(defoci[k])))
        assert one.count is None
        torch.testing.assert_close(y[b : b + 1], one.A(x[b : b + 1]))


# --- tables

STAR = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
           1 first 300.0 2.7 0.1 1.25
           2 'second one' 200.0 2.0 0.07 2.5

# version 30001

data_particles

loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnOpticsGroup #5
000001@Extract/mic_2.mrcs 15000.5 14000 30 1
000002@Extract/mic_2.mrcs 16000 15000 -40 2
000001@Extract/mic_10.mrcs 17000 17000 0 1
"""


@pytest.fixture
def star(tmp_path):
    def inner(text=STAR):
        (tmp_path / "particles.star").write_text(text)
        return str(tmp_path / "particles.star")

    return inner


@pytest.fixture
def table(tmp_path):
    def inner(text):
        (tmp_path / "particles.csv").write_text(text)
        return str(tmp_path / "particles.csv")

    return inner


def test_a_star_file_of_particles_and_optics_groups(star):
    columns = {name: values.tolist() for name, values in read_ctf_table(star(), "operator.table").items()}
    assert columns == {
        "pixel_size": [1.25, 2.5, 1.25],
        "voltage": [300.0, 200.0, 300.0],
        "cs": pytest.approx([2.7, 2.0, 2.7]),
        "amplitude_contrast": pytest.approx([0.1, 0.07, 0.1]),
        "defocus_u": [15000.5, 16000.0, 17000.0],
        "defocus_v": [14000.0, 15000.0, 17000.0],
        "defocus_angle": [30.0, -40.0, 0.0],
    }


def test_a_star_file_of_one_table(star):
    text = "data_\nloop_\n_rlnDefocusU #1\n_rlnVoltage #2\n1e4 300\n2e4 300\n"
    columns = read_ctf_table(star(text), "operator.table")
    assert {name: values.tolist() for name, values in columns.items()} == {
        "defocus_u": [1e4, 2e4],
        "voltage": [300.0, 300.0],
    }


def test_a_csv_file(table):
    columns = read_ctf_table(table("name, defocus_u,rlnDefocusV\na,1e4,9000\n\nb,2e4,8000\n"), "operator.table")
    assert {name: values.tolist() for name, values in columns.items()} == {
        "defocus_u": [1e4, 2e4],
        "defocus_v": [9e3, 8e3],
    }


def refused(match, call, *arguments):
    with pytest.raises(UnveilError, match=match) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defocus_u\n1e4\nabc\n", "defocus_u: row 2 is 'abc'"),
        ("defocus_u\n1e4\nnan\n", "defocus_u: row 2 is 'nan'"),
        ("defocus_u,cs\n1e4,2.7\n2e4\n", "row 2 has 1 values for 2 names"),
        ("name\na\n", "no rows of rlnImagePixelSize"),
        ("defocus_u\n", "no rows"),
        ("", "cannot be read"),
    ],
)
def test_csv_files_that_cannot_be_used(text, words, table):
    refused(words, read_ctf_table, table(text), "operator.table")


def test_files_that_cannot_be_used(tmp_path, star, monkeypatch):
    refused(r"operator\.table: .* does not exist", read_ctf_table, str(tmp_path / "none.star"), "operator.table")
    (tmp_path / "x.txt").write_text("x")
    refused("neither .star nor .csv", read_ctf_table, str(tmp_path / "x.txt"), "operator.table")
    refused("tables none", read_ctf_table, star("nothing"), "operator.table")
    refused("tables a, b", read_ctf_table, star("data_a\n_x 1\ndata_b\n_x 1\n"), "operator.table")
    refused("optics group 2", read_ctf_table, star(STAR.replace("           2 'second", "3 'second")), "operator.table")
    path = star()
    monkeypatch.setitem(__import__("sys").modules, "starfile", None)
    refused(r"pip install 'unveil\[cryoem\]'", read_ctf_table, path, "operator.table")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("000002@Extract/mic_2", "000001@Extract/mic_2"),  # one twice
        ("000001@Extract/mic_2", "000002@Extract/mic_2"),
        ("000001@Extract/mic_10", "000001@Extract/mic_1"),  # stacks are read in natural order
    ],
)
def test_rows_in_another_order_than_the_stacks(old, new, star):
    refused("is out of order; sort the rows", read_ctf_table, star(STAR.replace(old, new)), "operator.table")


# --- configuration


def test_the_configuration_of_one_defocus(x):
    system = parse_config(
        {"data": {"path": "x"}, "operator": {"kind": "cryoem", **KRIOS, "defocus_u": 15e3}}, "c"
    ).operator
    assert isinstance(system, CryoEMSection)
    operator = build_operator(system, (1, 8, 11), 3)
    expected = particles((8, 11), Optics(**KRIOS, defocus_u=15e3)).A(x)
    torch.testing.assert_close(operator.A(x), expected)


def test_the_configuration_of_a_table(star, x):
    operator = build_operator(CryoEMSection(table=star(), phase_shift=60.0), (1, 8, 11), 3)
    optics = Optics(
        pixel_size=2.5,
        voltage=200.0,
        cs=2.0,
        amplitude_contrast=0.07,
        defocus_u=16e3,
        defocus_v=15e3,
        defocus_angle=-40.0,
        phase_shift=60.0,
    )
    y = operator.select(torch.tensor([0, 1, 2], device=x.device)).A(x)
    torch.testing.assert_close(y[1:2], particles((8, 11), optics).A(x[1:2]))


def test_configurations_that_do_not_fit(star, table):
    refused("3 rows, and there are 4 measurements", build_operator, CryoEMSection(table=star()), (1, 8, 8), 4)
    refused("one channel", build_operator, CryoEMSection(table=star()), (3, 8, 8), 3)
    twice = CryoEMSection(table=star(), voltage=300.0)
    refused("operator.voltage is given, and .* has a column", build_operator, twice, (1, 8, 8), 3)
    short = CryoEMSection(table=table("defocus_u\n1e4\n"), pixel_size=1.0, voltage=300.0, amplitude_contrast=0.1)
    refused("operator.cs is missing", build_operator, short, (1, 8, 8), 1)
    values = {"data": {"path": "x"}, "operator": {"kind": "cryoem", **KRIOS}}
    refused("give defocus_u, or a table", parse_config, values, "c")
