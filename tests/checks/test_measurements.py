"""Measurements that contradict their instrument's description are told from those that do not."""

import numpy as np
import pytest
import torch

from unveil.checks.measurements import contradicted
from unveil.data import Measured, MemorySource
from unveil.errors import UnveilError
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.operator import interferometry
from unveil.instruments.mri.kspace import noise_level
from unveil.instruments.tomography.sinograms import rotation
from unveil.noise import Correlated, Gaussian
from unveil.operators import cartesian_mask, inpainting, mri, random_mask, tomography
from unveil.random import make_generator, normal

SIDE, SIGMA = 48, 0.05


def images(count=4, side=SIDE):
    """Discs and boxes of smooth texture, (count, 1, side, side) in [0, 1], empty near the border."""
    generator = make_generator("cpu", 5)
    rough = torch.randn(count, 1, side, side, generator=generator)
    frequency = torch.fft.fftfreq(side).square()[:, None] + torch.fft.rfftfreq(side).square()
    smooth = torch.fft.irfft2(torch.fft.rfft2(rough) * torch.exp(-2 * (np.pi * 3) ** 2 * frequency), s=(side, side))
    axis = torch.linspace(-1, 1, side)
    body = ((0.8 - (axis**2 + axis[:, None] ** 2).sqrt()) * side / 2).clamp(0, 1)
    return (0.5 + smooth / smooth.std() / 6).clamp(0, 1) * body


def lines(kind, y, operator, sigma=SIGMA):
    source = MemorySource({str(i): one for i, one in enumerate(y)})
    return contradicted(kind, source, operator, None if sigma is None else Gaussian(sigma))


def noisy(clean, sigma=SIGMA):
    return clean + sigma * normal(clean, make_generator("cpu", 6))


MASK = random_mask(SIDE, SIDE, 0.7, make_generator("cpu", 1))
MASKS = torch.stack([random_mask(SIDE, SIDE, 0.7, make_generator("cpu", i)) for i in range(4)])
COLUMNS = cartesian_mask(SIDE, SIDE, 3, 0.15, make_generator("cpu", 2))
SCANS = torch.stack([cartesian_mask(SIDE, SIDE, 3, 0.15, make_generator("cpu", i)) for i in range(4)])


def k_space():
    """Fully sampled, of one coil, with a little phase."""
    x = images()
    full = mri(torch.ones(SIDE, SIDE, dtype=torch.bool))
    return noisy(full.A(torch.cat([x, 0.1 * x], 1)))


# --- masks


@pytest.mark.parametrize("mask", [MASK, MASKS], ids=["one", "each"])
@pytest.mark.parametrize("fill", ["zeros", "numbers"])
def test_a_mask_that_fits_is_not_warned_of(mask, fill):
    y = noisy(images())
    y = y * mask.reshape(-1, 1, SIDE, SIDE) if fill == "zeros" else y
    assert lines("inpainting", y, inpainting(mask)) == []


@pytest.mark.parametrize("mask", [MASK, MASKS], ids=["one", "each"])
def test_an_inverted_mask(mask):
    y = noisy(images()) * mask.reshape(-1, 1, SIDE, SIDE)
    (line,) = lines("inpainting", y, inpainting(~mask))
    assert "zero at 100% of the entries that operator.mask calls measured, and not zero at 100% of the others" in line
    assert "is it inverted" in line


def test_images_with_dark_parts_are_no_contradiction():
    """Counts clipped at zero: each image has its own zeros, on both sides of the mask."""
    y = (noisy(images(), 0.1) - 0.05).clamp(min=0)
    assert lines("inpainting", y, inpainting(MASK), 0.1) == []
    y = noisy(images())
    y[..., :24, :] = 0  # but what is zero in all images, and nothing else, was not measured
    assert "of the entries that operator.mask calls measured" in lines("inpainting", y, inpainting(MASK))[0]


def test_nothing_but_zeros():
    (line,) = lines("inpainting", torch.zeros(3, 1, SIDE, SIDE), inpainting(MASK))
    assert "0 everywhere" in line


@pytest.mark.parametrize("mask", [COLUMNS, SCANS], ids=["one", "each"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m, None),
        (lambda m: ~m, "is it inverted"),
        (lambda m: m.mT, "transposed"),
        (lambda m: torch.fft.fftshift(m, dim=(-2, -1)), "np.fft.fftshift(mask)"),
        (lambda m: m | (torch.arange(SIDE) % 2 == 0), "check that the mask is that of these data"),
    ],
    ids=["right", "inverted", "transposed", "corner", "more"],
)
def test_masks_of_k_space(mask, change, said):
    y = k_space() * mask.reshape(-1, 1, SIDE, SIDE)
    found = lines("mri", y, mri(change(mask)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_masks_in_another_order():
    y = k_space() * SCANS[:, None]
    assert "another order" in lines("mri", y, mri(SCANS.flip(0)))[0]


def test_nan_where_the_mask_says_measured():
    y = noisy(images())
    y[..., ~MASK] = torch.nan
    source = MemorySource({str(i): one for i, one in enumerate(y)})
    assert Measured(source, inpainting(MASK)).read(0).isfinite().all()
    with pytest.raises(UnveilError, match="is the mask inverted"):
        Measured(source, inpainting(~MASK)).read(0)
    y[0, 0, 20, 20] = torch.nan  # one more is a dead pixel
    with pytest.raises(UnveilError, match="contains NaN"):
        Measured(MemorySource({"0": y[0]}), inpainting(MASK | (torch.arange(SIDE) == 20))).read(0)


# --- k-space


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("axes", "said"),
    [((), None), ((-2, -1), "axes=(-2, -1)"), ((-2,), "axes=-2"), ((-1,), "axes=-1")],
)
def test_where_the_zero_frequency_is(axes, said, masked):
    y = torch.fft.ifftshift(k_space(), dim=axes) if axes else k_space()
    mask = torch.fft.ifftshift(COLUMNS, dim=axes) if axes else COLUMNS
    operator = mri(mask if masked else COLUMNS)
    found = [line for line in lines("mri", y * mask if masked else y, operator) if "zero frequency in the" in line]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize("width", [0.5, 1.3], ids=["a small body", "one wider than the image"])
@pytest.mark.parametrize("mask", [None, COLUMNS], ids=["full", "masked"])
@pytest.mark.parametrize("exchanged", [False, True])
def test_images_whose_halves_are_exchanged(exchanged, mask, width):
    """As of fft2 without ifftshift of the image: a checkerboard of signs on k-space."""
    axis = torch.linspace(-1.5, 1.5, 3 * SIDE)
    wide = ((axis / width) ** 2 + (axis[:, None] / 0.7) ** 2 < 0.25).float()
    x = sum(part for rows in wide.chunk(3, 0) for part in rows.chunk(3, 1)).expand(2, 1, -1, -1)  # folded
    y = noisy(mri(torch.ones(SIDE, SIDE, dtype=torch.bool)).A(torch.cat([x, 0.5 * x], 1)))
    y = y * (-1.0) ** (torch.arange(SIDE) + torch.arange(SIDE)[:, None]) if exchanged else y
    y, mask = (y, torch.ones_like(COLUMNS)) if mask is None else (y * mask, mask)
    found = lines("mri", y, mri(mask))
    assert len(found) == exchanged
    assert not exchanged or "halves exchanged" in found[0]


def test_magnitudes_of_k_space_are_no_k_space():
    (line,) = lines("mri", k_space().abs(), mri(torch.ones(SIDE, SIDE, dtype=torch.bool)))
    assert "no negative values" in line


@pytest.mark.parametrize(("times", "said"), [(1, False), (2, False), (0.5, False), (10, True), (0.1, True)])
def test_a_level_ten_times_wrong_shows_in_the_corners(times, said):
    found = lines("mri", k_space() * COLUMNS, mri(COLUMNS), SIGMA * times)
    assert bool(found) is said
    if said:
        assert "corners of k-space has level 0.05" in found[0]
        assert f"{SIGMA * times:.2g} is stated" in found[0]


def test_a_noise_scan_is_of_these_coils_and_of_their_level():
    y, sampled = k_space() * COLUMNS, torch.eye(2)
    source = MemorySource({str(i): one for i, one in enumerate(y)})

    def of(sigma, covariance):
        return contradicted("mri", source, mri(COLUMNS), Correlated(sigma, covariance=covariance))

    assert of(SIGMA, sampled + 0.3 * (1 - sampled)) == []
    (line,) = of(10 * SIGMA, sampled)
    assert "0.5 is stated" in line
    with pytest.raises(UnveilError, match="covariance is of 6 channels, and the data have 2"):
        of(SIGMA, torch.eye(6))


def test_images_that_reach_the_corners_hide_the_level():
    full = mri(torch.ones(SIDE, SIDE, dtype=torch.bool))
    x = images()
    assert lines("mri", noisy(full.A(torch.cat([x, x], 1)), 1e-3), full, 1e-3) == []
    white = full.A(torch.randn(4, 2, SIDE, SIDE, generator=make_generator("cpu", 7)))
    assert lines("mri", white, full, 0.1) == []
    assert noise_level(white, full) is None
    assert noise_level(noisy(full.A(torch.cat([x, x], 1)), 1e-3), full) is None


@pytest.mark.parametrize("sigma", [SIGMA, 2 * SIGMA])
def test_the_level_that_the_corners_of_k_space_tell(sigma):
    """Of 2,048 entries and more: 3 standard errors of a median are 7%."""
    y = k_space() + (sigma**2 - SIGMA**2) ** 0.5 * torch.randn(k_space().shape, generator=make_generator("cpu", 3))
    for mask in (COLUMNS, torch.ones_like(COLUMNS)):
        assert noise_level(y * mask, mri(mask)) == pytest.approx(sigma, rel=0.07)
    assert noise_level(torch.zeros_like(y), mri(COLUMNS)) is None


# --- sinograms


@pytest.mark.parametrize("angles", [12, 48, 100])
def test_exchanged_axes_of_sinograms(angles):
    operator = tomography(torch.arange(angles) * 180 / angles, SIDE, SIDE)
    y = noisy(operator.A(images()))
    assert lines("tomography", y, operator) == []
    (line,) = lines("tomography", y.mT, tomography(torch.arange(SIDE) * 180 / SIDE, angles))
    assert "axes seem to be exchanged" in line
    assert "--set data.axes=NWH" in line


@pytest.mark.parametrize("flat", [1.0, 20_000.0])
def test_transmitted_intensities_are_no_sinograms(flat):
    operator = tomography(torch.arange(24) * 180 / 24, SIDE, SIDE)
    y = operator.A(images())
    (line,) = lines("tomography", flat * noisy(torch.exp(-y), 0.01), operator)
    assert "seem to be transmitted intensities; divide them by the flats, and save -log" in line
    assert lines("tomography", noisy(0.3 + y), operator) == [], "what surrounds a region of interest"


def shifted(y, pixels):
    """The sinograms with the slice's axis so many detectors farther on."""
    frequency = torch.fft.rfftfreq(y.shape[-2])[:, None]
    return torch.fft.irfft(
        torch.fft.rfft(y, dim=-2) * torch.exp(-2j * np.pi * frequency * pixels), n=y.shape[-2], dim=-2
    )


TURNED = torch.arange(24) * 180 / 24


@pytest.mark.parametrize("off", [-7.3, 0.0, 4.0])
def test_the_axis_of_rotation_is_found(off):
    operator, error = tomography(TURNED, SIDE - 10, SIDE), []
    for k in range(8):
        clean = shifted(operator.A(images(2, SIDE - 10)), off)
        found = rotation(clean + SIGMA * normal(clean, make_generator("cpu", 8, k)), TURNED)
        error.append((found.axis - (SIDE - 1) / 2 - off) / found.error)
    assert torch.tensor(error).square().mean().sqrt() < 2, "of chi^2 of 8, whose root mean square is 1 +- .25"
    found = lines("tomography", noisy(clean, SIGMA / 10), operator, SIGMA / 10)
    assert len(found) == (off != 0)
    assert not off or float(found[0].split("operator.axis=")[1]) == pytest.approx((SIDE - 1) / 2 + off, abs=0.3)


@pytest.mark.parametrize(
    "angles", [2 * TURNED, TURNED[torch.randperm(24, generator=make_generator("cpu", 9))]], ids=["range", "order"]
)
def test_angles_that_are_not_those_of_the_sinograms(angles):
    x = images().roll((4, 7), (-2, -1))
    y = noisy(tomography(TURNED, SIDE, SIDE).A(x), 0.002)
    assert lines("tomography", y, tomography(TURNED, SIDE, SIDE), 0.002) == []
    (line,) = lines("tomography", y, tomography(angles, SIDE, SIDE), 0.002)
    assert "do not move as those of a slice that is turned by operator.angles" in line


def test_few_angles_of_a_narrow_range_do_not_tell_the_axis():
    angles = torch.arange(12) / 4
    assert (
        lines("tomography", noisy(tomography(angles, SIDE, SIDE, axis=20.0).A(images())), tomography(angles, SIDE))
        == []
    )


def test_lost_projections_and_a_sign_that_was_forgotten():
    operator = tomography(TURNED, SIDE, SIDE)
    y = noisy(operator.A(images()))
    (line,) = lines("tomography", -y, operator)
    assert "negative in the mean" in line
    y[..., 5:7] = 0
    (line,) = lines("tomography", y, operator)
    assert line.startswith("2 projections of 24, from number 5 on")


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_dead_detectors(value):
    operator = tomography(TURNED, SIDE, SIDE)
    y = noisy(operator.A(images()))
    y[..., 9:11, :] = noisy(torch.full_like(y[..., 9:11, :], value), SIGMA / 10)
    (line,) = lines("tomography", y, operator)
    assert line.startswith("2 detectors of 48, from pixel 9 on, hardly change from angle to angle")


@pytest.mark.parametrize("air", [0.0, SIGMA])
def test_detectors_that_see_air_are_not_dead(air):
    operator = tomography(TURNED, SIDE - 12, SIDE)
    clean = operator.A(images(2, SIDE - 12))
    y = torch.where(clean == 0, noisy(clean, air) if air else clean, noisy(clean))
    assert lines("tomography", y, operator) == []


@pytest.mark.parametrize("view", [130, 20, 130e-6])
def test_a_field_of_view_in_another_unit_is_told(view):
    u = torch.tensor([1e9, 3e9, 6e9], dtype=torch.float64)
    operator = interferometry(Coverage(u, u / 2, torch.ones(3)), 16, view)
    said = lines("interferometry", torch.ones(1, 2, 1, 3), operator)
    assert (["periods of the longest baseline" in line for line in said] == [True]) == (view < 30)


def test_sinograms_of_noise_have_no_axes():
    operator = tomography(torch.arange(12.0), SIDE, SIDE)
    assert lines("tomography", noisy(torch.zeros(4, 1, SIDE, 12)), operator) == []
