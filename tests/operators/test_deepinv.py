"""Against deepinv's physics of the same instruments: another implementation of A, its adjoint and the proximal step."""

import deepinv as dinv
import pytest
import torch

from unveil.operators import (
    birdcage_coils,
    blur,
    cartesian_mask,
    demosaicing,
    inpainting,
    mri,
    random_mask,
    super_resolution,
    tomography,
)
from unveil.random import make_generator, normal

DOUBLE = torch.float64
GAMMA = 30.0


def white(*shape, key=0, device="cpu"):
    return normal(torch.empty(*shape, dtype=DOUBLE, device=device), make_generator(device, key))


def agree(operator, physics, there=lambda y: y, back=lambda y: y, tolerance=1e-6, proximal=True):
    """`there` makes of our y deepinv's, `back` ours of deepinv's; their kernels are of single precision."""
    x = white(2, *operator.image_shape)
    y = operator.A(x) + operator.project(0.3 * white(2, *operator.measurement_shape, key=1))
    close = {"rtol": 0, "atol": tolerance}
    torch.testing.assert_close(operator.A(x), back(physics.A(x)), **close)
    torch.testing.assert_close(operator.A_adjoint(y), physics.A_adjoint(there(y)), **close)
    if proximal:
        z = white(2, *operator.image_shape, key=2)
        found = operator.prox_l2(z, y, torch.full((2,), GAMMA, dtype=DOUBLE))
        torch.testing.assert_close(found, physics.prox_l2(z, there(y), GAMMA), rtol=0, atol=1e-3)


def test_inpainting():
    mask = random_mask(8, 10, 0.6, make_generator("cpu", 3))
    agree(inpainting(mask, 3), dinv.physics.Inpainting((3, 8, 10), mask=mask.double()))


def test_demosaicing():
    """Which keeps three channels, mostly zeros, and has blue first."""
    operator = demosaicing(8, 10, "BGGR")
    filters = operator.A_adjoint(torch.ones(1, 1, 8, 10, dtype=DOUBLE))
    physics = dinv.physics.Demosaicing((3, 8, 10))
    agree(operator, physics, lambda y: y * filters, lambda y: y.sum(1, keepdim=True))


@pytest.mark.parametrize("size", [(3, 5), (4, 3), (7, 8)])
def test_blur(size):
    kernel = white(*size).abs()
    kernel = kernel / kernel.sum()
    physics = dinv.physics.BlurFFT((2, 9, 12), filter=kernel[None, None].float())
    agree(blur(kernel, 9, 12, 2), physics)


@pytest.mark.parametrize("factor", [2, 3])
def test_super_resolution(factor):
    """Which keeps the first pixel of each block, and centres its kernel otherwise: a kernel of one pixel more says
    where."""
    side = (4 * factor, 5 * factor)
    kernel = white(factor, factor).abs()
    kernel = kernel / kernel.sum()
    shift = (factor - 1) // 2
    moved = torch.zeros(2 * factor + 1, 2 * factor + 1, dtype=DOUBLE)  # odd, so that its middle is no question
    start = factor - factor // 2 - shift
    moved[start : start + factor, start : start + factor] = kernel
    physics = dinv.physics.Downsampling((2, *side), filter=moved[None, None], factor=factor, padding="circular")
    agree(super_resolution(factor, *side, 2, kernel), physics, proximal=False)


def test_mri_of_one_coil():
    mask = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 3))
    agree(mri(mask), dinv.physics.MRI(mask=mask.double(), img_size=(8, 10)))


def test_mri_of_several_coils():
    mask = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 3))
    coils = birdcage_coils(3, 8, 10, torch.complex128)
    physics = dinv.physics.MultiCoilMRI(mask=mask.double(), coil_maps=coils[None], img_size=(8, 10))
    agree(mri(mask, coils), physics, lambda y: y.unflatten(1, (2, 3)), lambda y: y.flatten(1, 2), proximal=False)


def test_tomography():
    """In units of a pixel, and its axis in the middle of an odd number of pixels."""
    width, angles = 21, torch.arange(0, 180, 20.0)
    physics = dinv.physics.Tomography(angles, width, circle=True, normalize=False, dtype=DOUBLE)
    place = torch.arange(width, dtype=DOUBLE) - width // 2
    inside = (place[:, None] ** 2 + place**2 < (width / 2 - 2) ** 2).to(DOUBLE)
    operator = tomography(angles, width, width)
    x = inside * white(2, 1, width, width)
    torch.testing.assert_close(operator.A(x), physics.A(x) / width, rtol=0, atol=1e-6)
    y = white(2, *operator.measurement_shape, key=1)
    found, expected = operator.A_adjoint(y) * inside, physics.A_adjoint(y) * inside / width
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
