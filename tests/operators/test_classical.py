"""Inpainting, demosaicing, blur, super-resolution and tomography where the answer is known, and their sections of a
configuration."""

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from skimage.transform import iradon, radon

from unveil.errors import UnveilWarning
from unveil.instruments.registry import OperatorSection, build_operator
from unveil.operators import blur, demosaicing, gaussian_kernel, inpainting, missing_box, super_resolution, tomography
from unveil.random import make_generator

DOUBLE = torch.float64


@pytest.fixture
def random(device):
    """A tensor of the given shape, in [0, 1)."""
    return lambda *shape: torch.rand(shape, generator=make_generator(device, 1), device=device, dtype=DOUBLE)


def build(shape, count=3, **section):
    return build_operator(TypeAdapter(OperatorSection).validate_python(section), shape, count)


def save(path, array):
    np.save(path, np.asarray(array))
    return str(path)


# --- inpainting


def test_the_pixels_that_the_mask_selects_are_kept(random):
    x = random(2, 3, 5, 6)
    expected = x.clone()
    expected[:, :, 1:3, 2:6] = 0
    operator = inpainting(missing_box(5, 6, 1, 2, 2, 4), 3)
    assert torch.equal(operator.A(x), expected)
    assert torch.equal(operator.A_adjoint(x), expected)
    assert operator.project(torch.ones_like(x)).flatten(1).sum(1).tolist() == [66, 66]


# --- demosaicing


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_the_mosaic_of_one_colour_is_the_pixels_under_its_filters(pattern, device):
    operator = demosaicing(4, 6, pattern)
    for channel, colour in enumerate("RGB"):
        x = torch.zeros(1, 3, 4, 6, device=device)
        x[:, channel] = 1
        y = operator.A(x)[0, 0]
        for i in range(4):
            for j in range(6):
                assert y[i, j] == (pattern[2 * (i % 2) + j % 2] == colour)


def test_the_mosaic_keeps_the_values_and_gives_them_back(random):
    x, operator = random(2, 3, 4, 6), demosaicing(4, 6)
    y = operator.A(x)
    assert torch.equal(y[:, 0, ::2, ::2], x[:, 0, ::2, ::2])
    assert torch.equal(y[:, 0, ::2, 1::2], x[:, 1, ::2, 1::2])
    assert torch.equal(y[:, 0, 1::2, 1::2], x[:, 2, 1::2, 1::2])
    assert torch.equal(operator.A(operator.A_adjoint(y)), y)


# --- blur


@pytest.mark.parametrize("size", [(3, 5), (4, 3), (2, 2), (7, 8), (1, 1)])
@pytest.mark.parametrize("at", [(3, 4), (0, 0), (6, 7)])
def test_a_point_becomes_the_kernel(size, at, random, device):
    kernel = random(*size)
    x = torch.zeros(1, 1, 7, 8, device=device, dtype=DOUBLE)
    x[0, 0, at[0], at[1]] = 3
    expected = torch.zeros_like(x)
    for i in range(size[0]):
        for j in range(size[1]):
            row, column = (at[0] + i - size[0] // 2) % 7, (at[1] + j - size[1] // 2) % 8
            expected[0, 0, row, column] = 3 * kernel[i, j] / kernel.sum()
    torch.testing.assert_close(blur(kernel.cpu(), 7, 8).A(x), expected, atol=1e-6, rtol=0)


def test_a_blur_treats_the_colours_alike_and_keeps_a_constant(random):
    x, kernel = random(1, 3, 7, 8), random(3, 5).cpu()
    y = blur(kernel, 7, 8, 3).A(x)
    for channel in range(3):
        torch.testing.assert_close(y[:, channel, None], blur(kernel, 7, 8).A(x[:, channel, None]))
    constant = torch.full_like(x, 0.3)
    torch.testing.assert_close(blur(9 * kernel, 7, 8, 3).A(constant), constant, atol=1e-6, rtol=0)


@pytest.mark.parametrize("deviation", [1.0, 2.5])
def test_the_gaussian_kernel_has_the_deviation(deviation):
    kernel = gaussian_kernel(deviation)
    place = torch.arange(len(kernel), dtype=DOUBLE) - len(kernel) // 2
    assert float(kernel.sum()) == pytest.approx(1)
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel, kernel.flip(0))
    assert float((kernel.sum(0) * place**2).sum().sqrt()) == pytest.approx(deviation, rel=0.01)  # a little is cut off


def test_the_pseudo_inverse_of_a_mild_blur_is_exact(random):
    x = random(1, 1, 7, 8)
    operator = blur(torch.tensor([[0.1, 0.2, 0.0], [0.1, 3.0, 0.3]]), 7, 8)
    torch.testing.assert_close(operator.A_dagger(operator.A(x)), x, atol=1e-5, rtol=0)


# --- super-resolution


@pytest.mark.parametrize("kernel", [None, torch.ones(2, 2), gaussian_kernel(1.0)])
def test_a_constant_stays_itself_on_coarse_pixels(kernel, device):
    x = torch.full((1, 1, 16, 20), 0.7, device=device, dtype=DOUBLE)
    y = super_resolution(2, 16, 20, kernel=kernel).A(x)
    torch.testing.assert_close(y, torch.full_like(y, 0.7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_detector_takes_means_and_its_pseudo_inverse_repeats_them(factor, random):
    x = random(2, 3, 2 * factor, 3 * factor)
    operator = super_resolution(factor, 2 * factor, 3 * factor, 3, torch.ones(factor, factor))
    y = operator.A(x)
    torch.testing.assert_close(y, torch.nn.functional.avg_pool2d(x, factor), atol=1e-6, rtol=0)
    expected = y.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    torch.testing.assert_close(operator.A_dagger(y), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_against_another_implementation(factor, random):
    x = random(1, 2, 9 * factor, 8 * factor)
    y = super_resolution(factor, 9 * factor, 8 * factor, 2).A(x)
    size = {"size": (9, 8), "mode": "bicubic", "antialias": True, "align_corners": False}
    inside = (..., slice(2, -2), slice(2, -2))  # that one ends the image at its borders
    torch.testing.assert_close(y[inside], torch.nn.functional.interpolate(x, **size)[inside], atol=1e-6, rtol=0)


# --- tomography


def centred(width, device):
    """u to the right and v up, in pixels from the centre of an image."""
    place = torch.arange(width, device=device, dtype=DOUBLE) - (width - 1) / 2
    return place[None, :], -place[:, None]


@pytest.mark.parametrize("detectors", [None, 65])
def test_the_chords_of_a_disc(detectors, device):
    width, radius = 65, 22.3
    fine = 8  # samples along each side of a pixel, for a disc with a soft edge
    u, v = centred(width * fine, device)
    disc = ((u / fine) ** 2 + (v / fine) ** 2 <= radius**2).to(DOUBLE)
    x = 0.8 * torch.nn.functional.avg_pool2d(disc[None, None], fine)
    operator = tomography(torch.arange(0, 180, 7.0), width, detectors)
    y = operator.A(x)[0, 0]
    d = torch.arange(len(y), device=device, dtype=DOUBLE) - (len(y) - 1) / 2
    chord = 0.8 * 2 * (radius**2 - d**2).clamp_min(0).sqrt() / width
    away = ((d.abs() - radius).abs() > 3)[:, None]  # at the rim the chord changes within a pixel
    assert float((away * (y - chord[:, None])).abs().max()) < 0.01 * float(chord.max())
    inner = (u.square() + v.square()) < (fine * (radius - 3)) ** 2
    inner = torch.nn.functional.avg_pool2d(inner.to(DOUBLE)[None, None], fine) == 1
    again = tomography(torch.arange(0, 180, 2.0), width, detectors)
    back = again.A_dagger(again.A(x))
    assert float(back[inner].mean()) == pytest.approx(0.8, rel=1e-3)
    assert float(back[inner].std()) < 0.01


@pytest.mark.parametrize(("width", "detectors"), [(16, None), (17, None), (20, 20), (16, 22)])
def test_each_angle_sees_all_of_the_image(width, detectors, device):
    u, v = centred(width, device)
    x = torch.exp(-((u - 2) ** 2 + (v + 1) ** 2) / 8)[None, None]
    y = tomography(torch.arange(0, 360, 11.0), width, detectors).A(x)
    total = (x.sum() / width).expand(y.shape[-1])
    torch.testing.assert_close(y.sum(-2)[0, 0], total, atol=0, rtol=0.005)


def test_the_axes_and_the_direction_of_the_angles(random, device):
    x = random(1, 1, 15, 15)
    operator = tomography(torch.tensor([0.0, 90.0, 180.0]), 15)
    y = operator.A(x)[0, 0]
    margin = (len(y) - 15) // 2
    inside = y[margin : len(y) - margin]
    torch.testing.assert_close(inside[:, 0], x[0, 0].sum(0) / 15)
    torch.testing.assert_close(inside[:, 1], x[0, 0].sum(1).flip(0) / 15)
    torch.testing.assert_close(inside[:, 2], x[0, 0].sum(0).flip(0) / 15)
    u, v = centred(31, device)
    point = torch.exp(-((u - 7) ** 2 + (v - 4) ** 2) / 4)[None, None]  # right of the centre, and above
    for angle in (20.0, 110.0, 200.0):
        y = tomography(torch.tensor([angle]), 31).A(point)[0, 0, :, 0]
        d = torch.arange(len(y), device=device, dtype=DOUBLE) - (len(y) - 1) / 2
        expected = 7 * math.cos(math.radians(angle)) + 4 * math.sin(math.radians(angle))
        assert float((y * d).sum() / y.sum()) == pytest.approx(expected, abs=0.02)


def test_against_another_implementation(random):
    u, v = centred(21, "cpu")
    x = random(21, 21).cpu() * (u**2 + v**2 < 90)
    angles = torch.arange(0, 180, 13.0)
    expected = torch.from_numpy(radon(x.numpy(), angles.numpy().astype("float64"), circle=True)) / 21
    torch.testing.assert_close(tomography(angles, 21, 21).A(x[None, None])[0, 0], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("width", "circle"), [(24, True), (25, True), (24, False), (25, False), (30, False)])
def test_the_axis_of_scikit_image(width, circle, random):
    """Its sinograms are those of A, and what it reconstructs lies where A has it; the axis in the middle errs by a
    tenth."""
    u, v = centred(width, "cpu")
    x = torch.exp(-((u - 3) ** 2 + (v + 2) ** 2) / 8) + (0.5 * ((u + 4).abs() < 3) * ((v - 3).abs() < 2)).to(DOUBLE)
    angles = torch.arange(0, 180, 9.0)
    expected = torch.from_numpy(radon(x.numpy(), angles.numpy().astype("float64"), circle=circle)) / width
    detectors = len(expected)
    y = tomography(angles, width, detectors, axis="scikit-image").A(x[None, None])[0, 0]
    assert float((y - expected).norm() / expected.norm()) < 0.002
    if width % 2 == 0 and detectors % 2 == 0:
        wrong = tomography(angles, width, detectors).A(x[None, None])[0, 0]
        assert float((wrong - expected).norm() / expected.norm()) > 0.05


def test_reconstructions_of_scikit_image_lie_where_ours_do():
    width, angles = 32, torch.arange(0, 180, 2.0)
    u, v = centred(width, "cpu")
    x = torch.exp(-((u - 3) ** 2 + (v + 2) ** 2) / 8)
    sinogram = radon(x.numpy(), angles.numpy().astype("float64"), circle=True)
    back = iradon(sinogram, angles.numpy().astype("float64"), circle=True)
    y = torch.from_numpy(sinogram)[None, None] / width
    found, beside = (tomography(angles, width, width, axis=axis).A_dagger(y) for axis in ("scikit-image", "centre"))
    back = torch.from_numpy(back)
    assert float((found - back).norm() / back.norm()) < 0.04
    assert float((beside - back).norm() / back.norm()) > 0.2


@pytest.mark.parametrize("axis", [11.5, 12.0, 9.25])
def test_an_axis_elsewhere_moves_the_projections(axis, device):
    """A point at (u, v) from the axis lies at axis + u cos + v sin on the detector."""
    u, v = centred(24, device)
    point = torch.exp(-((u - 4) ** 2 + (v - 2) ** 2) / 2)[None, None]
    angles = torch.tensor([0.0, 50.0, 140.0])
    y = tomography(angles, 24, 24, axis=axis).A(point)[0, 0]
    d = torch.arange(24, device=device, dtype=DOUBLE)
    theta = torch.deg2rad(angles).to(y)
    torch.testing.assert_close(
        (y * d[:, None]).sum(0) / y.sum(0), axis + 4 * theta.cos() + 2 * theta.sin(), atol=0.03, rtol=0
    )


def test_angles_in_radians_are_warned_of(tmp_path):
    angles = np.arange(12) * np.pi / 12
    with pytest.warns(UnveilWarning, match="look like radians; save np.rad2deg"):
        build((1, 10, 12), kind="tomography", angles=save(tmp_path / "angles.npy", torch.from_numpy(angles)))
    build((1, 10, 12), kind="tomography", angles=save(tmp_path / "angles.npy", torch.from_numpy(np.rad2deg(angles))))


def test_names_of_the_axis(random):
    x, angles = random(1, 1, 12, 12), torch.arange(0, 180, 30.0)
    centre, *same = (tomography(angles, 12, 14, axis=axis).A(x) for axis in ("centre", "astra", "tomopy", 6.5))
    for y in same:
        torch.testing.assert_close(y, centre)


def test_the_fewest_detectors_that_see_the_whole_square(device):
    for width in (2, 9, 16, 33):
        operator = tomography(torch.tensor([45.0]), width)
        detectors = operator.measurement_shape[1]
        assert (detectors - width) % 2 == 0
        assert detectors - 2 < math.sqrt(2) * width <= detectors
        corner = torch.zeros(1, 1, width, width, device=device, dtype=DOUBLE)
        corner[..., 0, -1] = 1
        assert float(operator.A(corner).sum()) * width == pytest.approx(1, abs=0.3)


# --- sections of a configuration


def test_the_sections_build_what_the_constructors_do(tmp_path, random, device):
    kernel = random(3, 3).cpu()
    file, angles = save(tmp_path / "kernel.npy", kernel), torch.linspace(0, 100, 7, dtype=DOUBLE)
    built = {
        "mask": (
            build((3, 4, 6), kind="inpainting", mask=save(tmp_path / "mask.npy", missing_box(4, 6, 1, 2, 2, 3))),
            inpainting(missing_box(4, 6, 1, 2, 2, 3), 3),
        ),
        "masks": (
            build((1, 4, 6), 5, kind="inpainting", mask=save(tmp_path / "masks.npy", random(5, 4, 6).cpu() > 0.4)),
            inpainting(random(5, 4, 6).cpu() > 0.4),
        ),
        "pattern": (build((1, 4, 6), kind="demosaicing", pattern="BGGR"), demosaicing(4, 6, "BGGR")),
        "kernel": (build((3, 7, 8), kind="blur", kernel=file), blur(kernel, 7, 8, 3)),
        "deviation": (build((1, 9, 9), kind="blur", std=0.8), blur(gaussian_kernel(0.8), 9, 9)),
        "bicubic": (build((2, 5, 6), kind="super_resolution", factor=2), super_resolution(2, 10, 12, 2)),
        "coarse": (
            build((1, 5, 6), kind="super_resolution", factor=3, kernel=file),
            super_resolution(3, 15, 18, 1, kernel),
        ),
        "angles": (
            build((2, 10, 7), kind="tomography", angles=save(tmp_path / "angles.npy", angles)),
            tomography(angles, 10, 10, 2),
        ),
        "axis": (
            build((1, 10, 6), kind="tomography", width=9, axis=4.0),
            tomography(torch.arange(0, 180, 30.0), 9, 10, axis=4.0),
        ),
        "convention": (
            build((1, 10, 6), kind="tomography", width=9, axis="scikit-image"),
            tomography(torch.arange(0, 180, 30.0), 9, 10, axis="scikit-image"),
        ),
        "half a turn": (
            build((1, 13, 6), kind="tomography", width=9),
            tomography(torch.arange(0, 180, 30.0), 9, 13),
        ),
    }
    for operator, same in built.values():
        assert operator.image_shape == same.image_shape
        assert operator.measurement_shape == same.measurement_shape
        x, which = random(2, *operator.image_shape), torch.tensor([1, 0], device=device)
        torch.testing.assert_close(operator.select(which).A(x), same.select(which).A(x), atol=1e-12, rtol=0)


def test_the_built_problems_have_the_shape_of_the_data():
    for shape, section in {
        (1, 4, 6): {"kind": "demosaicing"},
        (3, 24, 30): {"kind": "blur", "std": 2},
        (3, 8, 9): {"kind": "super_resolution", "factor": 4},
        (2, 12, 20): {"kind": "tomography"},
    }.items():
        operator = build(shape, **section)
        assert operator.measurement_shape == shape
        assert operator.A(torch.rand(1, *operator.image_shape, generator=make_generator("cpu", 2))).shape[1:] == shape
