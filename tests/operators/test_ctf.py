"""The contrast transfer function against its known values, and the directions and signs of its conventions."""

import math

import pytest
import torch

from unveil.errors import UnveilError
from unveil.operators import Optics, ctf, electron_wavelength

KRIOS = {"pixel_size": 1.3, "voltage": 300.0, "cs": 2.7, "amplitude_contrast": 0.1}


@pytest.fixture
def optics(device):
    """Optics in float64 from `KRIOS`, with what the test changes."""

    def inner(**values):
        return Optics(
            **{k: torch.as_tensor(v, dtype=torch.float64, device=device) for k, v in {**KRIOS, **values}.items()}
        )

    return inner


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype, device=a.device), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("voltage", "angstrom"), [(100.0, 0.03701), (200.0, 0.02508), (300.0, 0.01969)])
def test_wavelength(voltage, angstrom, device):
    close(electron_wavelength(torch.tensor(voltage, dtype=torch.float64, device=device)), angstrom, 5e-6)


def test_contrast_at_frequency_zero(optics):
    close(ctf((8, 9), optics(defocus_u=15e3))[0, 0], -0.1)
    close(ctf((8, 9), optics(defocus_u=15e3, amplitude_contrast=0.0, phase_shift=90.0))[0, 0], -1.0)
    close(ctf((8, 9), optics(defocus_u=15e3, amplitude_contrast=1.0))[0, 0], -1.0)


def test_first_zero_without_aberration(optics):
    """pi lambda z g^2 = pi at g = 6 / (64 pixels)."""
    g = 6 / (64 * 1.3)
    z = 1 / (float(electron_wavelength(torch.tensor(300.0, dtype=torch.float64))) * g**2)
    row = ctf((64, 64), optics(defocus_u=z, cs=0.0, amplitude_contrast=0.0))[0]
    close(row[6], 0.0)
    assert (row[1:6] < 0).all()  # matter is dark under focus
    assert row[7] > 0
    assert ctf((64, 64), optics(defocus_u=-z, cs=0.0, amplitude_contrast=0.0))[0, 3] > 0


def test_aberration_by_the_path_of_the_electrons(optics):
    """chi is 2 pi / lambda times the path z theta^2 / 2 - C_s theta^4 / 4 at the angle theta = lambda g, in metres."""
    wavelength = 1e-10 * float(electron_wavelength(torch.tensor(300.0, dtype=torch.float64)))
    theta = wavelength * 11 / (32 * 1.3e-10)
    chi = 2 * math.pi / wavelength * (18e-7 * theta**2 / 2 - 2.7e-3 * theta**4 / 4)
    expected = -math.sqrt(1 - 0.1**2) * math.sin(chi) - 0.1 * math.cos(chi)
    close(ctf((32, 32), optics(defocus_u=18e3))[0, 11], expected, 1e-9)
    chi += math.radians(40.0)
    expected = -math.sqrt(1 - 0.1**2) * math.sin(chi) - 0.1 * math.cos(chi)
    close(ctf((32, 32), optics(defocus_u=18e3, phase_shift=40.0))[0, 11], expected, 1e-9)


def test_without_astigmatism_it_is_radial(optics):
    values = ctf((40, 40), optics(defocus_u=15e3, defocus_angle=33.0))
    assert abs(values[0, 5]) > 0.01
    for place in [(5, 0), (3, 4), (-4, 3), (0, -5)]:
        close(values[place], values[0, 5])


def test_the_principal_defoci_lie_where_the_angle_says(optics):
    """x along columns, y along rows, the angle from x towards y."""
    u, v = (ctf((32, 32), optics(defocus_u=z)) for z in (15e3, 13e3))
    along_x = ctf((32, 32), optics(defocus_u=15e3, defocus_v=13e3))
    close(along_x[0], u[0])
    close(along_x[:, 0], v[:, 0])
    diagonal = ctf((32, 32), optics(defocus_u=15e3, defocus_v=13e3, defocus_angle=45.0))
    close(diagonal[7, 7], u[7, 7])
    close(diagonal[-7, 7], v[-7, 7])
    assert abs(u[7, 7] - v[7, 7]) > 0.1
    close(ctf((32, 32), optics(defocus_u=15e3, defocus_v=13e3, defocus_angle=180.0)), along_x)


def test_a_quarter_turn_swaps_the_defoci(optics):
    turned = ctf((24, 31), optics(defocus_u=15e3, defocus_v=13e3, defocus_angle=110.0))
    swapped = ctf((24, 31), optics(defocus_u=13e3, defocus_v=15e3, defocus_angle=20.0))
    close(turned, swapped)
    assert (turned - ctf((24, 31), optics(defocus_u=15e3, defocus_v=13e3, defocus_angle=20.0))).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(8, 10), (9, 10), (8, 7)])
def test_it_is_even_at_the_highest_frequency_too(shape, optics):
    values = ctf(shape, optics(pixel_size=3.0, defocus_u=15e3, defocus_v=9e3, defocus_angle=25.0))
    close(values, values.flip(-2, -1).roll((1, 1), (-2, -1)))


def test_pixels_are_in_angstrom(optics):
    """Of fields equally wide, the one of coarser pixels has the same values at its lower frequencies."""
    fine = ctf((32, 32), optics(defocus_u=15e3))
    close(ctf((16, 16), optics(defocus_u=15e3, pixel_size=2.6))[:8, :8], fine[:8, :8])


def test_one_row_an_image(optics):
    defoci, pixels = [15e3, 9e3, 21e3], [1.3, 1.0, 2.0]
    values = ctf((8, 10), optics(defocus_u=defoci, pixel_size=pixels, defocus_v=12e3))
    assert values.shape == (3, 8, 10)
    for k in range(3):
        close(values[k], ctf((8, 10), optics(defocus_u=defoci[k], pixel_size=pixels[k], defocus_v=12e3)))


def test_numbers_have_the_default_precision():
    values = ctf((32, 32), Optics(**KRIOS, defocus_u=15_000))
    assert values.dtype == torch.float32
    exact = ctf((32, 32), Optics(**KRIOS, defocus_u=torch.tensor(15e3, dtype=torch.float64)))
    torch.testing.assert_close(values.double(), exact.double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"pixel_size": 0.0}, "pixel_size must be > 0 angstrom"),
        ({"voltage": -300.0}, "voltage must be > 0 kilovolt"),
        ({"amplitude_contrast": 7.0}, "fraction"),
        ({"defocus_u": math.nan}, "defocus_u has values that are not finite"),
        ({"defocus_u": [1e4, 2e4], "cs": [2.7, 2.7, 2.7]}, "same N images"),
        ({"defocus_u": [[1e4, 2e4]]}, "same N images"),
    ],
)
def test_impossible_optics(values, words, optics):
    with pytest.raises(UnveilError, match=words) as caught:
        optics(**{"defocus_u": 15e3, **values})
    assert "\n" not in str(caught.value)
