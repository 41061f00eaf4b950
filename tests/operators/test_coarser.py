"""Coarser Fourier measurements: the low frequencies of y are measurements of the image with larger pixels."""

import math

import pytest
import torch
from cases import CASES, STATIONS, TRACK

from unveil.errors import UnveilError
from unveil.operators import birdcage_coils, cartesian_mask, interferometry, mri, uv_track
from unveil.random import make_generator

DOUBLE = torch.float64


def blobs(pixels, spacing):
    """(3, 1, pixels, pixels): smooth sources well inside the field, at pixels `spacing` apart, in units of the
    finest."""
    position = spacing * (torch.arange(pixels, dtype=DOUBLE) - (pixels - 1) / 2)
    images = []
    for across, down, width in ((2.0, -3.0, 3.0), (-4.0, 1.0, 3.5), (0.0, 0.5, 4.0)):
        images.append(torch.outer(*(torch.exp(-(((position - c) / width) ** 2) / 2) for c in (down, across)))[None])
    return torch.stack(images)


def refined(x, k):
    """The image with k times finer pixels that has no other frequencies, (B, 2, k H, k W) of x (B, 2, H, W)."""
    height, width = x.shape[-2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.complex(x[:, 0], x[:, 1])), dim=(-2, -1))
    padded = torch.zeros(len(x), k * height, k * width, dtype=spectrum.dtype)
    top, left = k * height // 2 - height // 2, k * width // 2 - width // 2
    padded[:, top : top + height, left : left + width] = spectrum
    # the pixel at H // 2 stays where it is, so that every k-th pixel is one of x
    shift = [(k * side // 2 - k * (side // 2)) for side in (height, width)]
    fine = torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(-2, -1))) * k**2
    fine = fine.roll(shift, dims=(-2, -1))
    return torch.stack([fine.real, fine.imag], 1)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("side", [(6, 10), (5, 7)])
def test_the_middle_of_k_space_measures_the_coarse_image(side, k):
    height, width = (k * n for n in side)
    masks = torch.stack([cartesian_mask(height, width, 2, 0.2, make_generator("cpu", 4, i)) for i in range(3)])
    operator = mri(masks).select(torch.arange(3))
    x = torch.randn(3, 2, *side, dtype=DOUBLE, generator=make_generator("cpu", 1))
    coarse, take = operator.coarser(k)
    assert coarse.image_shape == (2, *side)
    y = take(operator.A(refined(x, k)))
    torch.testing.assert_close(y, coarse.A(x), rtol=0, atol=1e-10)
    assert float(y.norm()) > 0.1


def test_coils_of_the_coarse_image_are_at_its_pixels():
    k, side = 2, (32, 32)
    mask = torch.ones(64, 64)
    operator = mri(mask, birdcage_coils(3, 64, 64, torch.complex128))
    x = torch.zeros(3, 2, *side, dtype=DOUBLE)
    x[:, :1] = blobs(32, 1.0)
    coarse, take = operator.coarser(k)
    y, expected = take(operator.A(refined(x, k))), coarse.A(x)
    assert float((y - expected).norm()) < 1e-3 * float(expected.norm())


@pytest.mark.parametrize("k", [1, 2])
def test_short_baselines_measure_the_coarse_image(k):
    operator = interferometry(uv_track(STATIONS, **TRACK), 32, 80.0)
    coarse, take = operator.coarser(k)
    assert coarse.sigma == pytest.approx(operator.sigma / k)
    y, expected = take(operator.A(blobs(32, 1.0))), coarse.A(blobs(32 // k, float(k)))
    assert y.shape == expected.shape
    assert float((y - expected).norm()) < 1e-3 * float(expected.norm())


def test_noise_of_the_low_frequencies_has_a_lower_level():
    """Of sigma w it is sigma w_k / k: each number kept is one of y's over k, so it stays white."""
    for name, k in (("mri, several coils", 2), ("interferometry", 2)):
        operator = CASES[name]()
        y = torch.randn(2000, *operator.measurement_shape, generator=make_generator("cpu", 2))
        taken = operator.coarser(k)[1](y)
        error = 1 / math.sqrt(2 * taken.numel())
        assert taken.std().item() * k == pytest.approx(1.0, abs=4 * error)
        numbers = set((taken[0] * k).flatten().tolist())
        assert len(numbers) == taken[0].numel()
        assert numbers <= set(y[0].flatten().tolist())


def test_what_cannot_be_coarser():
    assert CASES["inpainting, a box"]().coarser(2) is None
    with pytest.raises(UnveilError, match="8x10 pixels cannot be dilated by 4"):
        CASES["mri, one coil"]().coarser(4)
    with pytest.raises(UnveilError, match="no baseline is short enough"):
        CASES["interferometry"]().coarser(8)
    edge = torch.zeros(8, 8)
    edge[:, 0] = 1
    with pytest.raises(UnveilError, match="misses all of the middle 1 / 2"):
        mri(edge).coarser(2)
