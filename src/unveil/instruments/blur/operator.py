"""Deblurring: a lens, a camera or a microscope spreads each point of the image over its neighbours.

    y = k * x + n,    (k * x)_i = sum_j k_j x_(i - j),    sum_j k_j = 1

The lens is out of focus, or the camera moves. The image goes on periodically at its borders, so that A is diagonal in
the Fourier basis, with an exact adjoint, pseudo-inverse and proximal step at the price of two FFTs, and y has the size
of x. No scene is periodic: what is reconstructed within half a kernel of the border is not to be trusted. A blur
commutes with shifts, so that they do not teach what it removes (see `unveil.symmetry.base`).
"""

import math

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.blur import BlurSection
from unveil.instruments.files import read_real
from unveil.operators.convolution import Convolution

__all__ = ["blur", "build_blur", "check_kernel", "gaussian_kernel", "transfer_function"]

CUTOFF = 1e-5
"""Damping below which A^+ leaves a frequency out."""


def blur(kernel: Tensor, height: int, width: int, channels: int = 1) -> Convolution:
    """Return the operator of images x (channels, height, width) from blurred ones y of the same shape and units.

    kernel: k (h, w), the picture of a point, up to its scale: it is divided by its sum. A point at pixel (i, j) appears
    with the kernel's pixel (h // 2, w // 2) at (i, j).
    A^+ leaves out the frequencies that the kernel damps below 1e-5, and enhances the noise of the others by up to 1e5.
    Raises UnveilError for a kernel that is not 2D, is larger than the image, or has no finite and positive sum.
    """
    return Convolution((channels, height, width), transfer_function(kernel, height, width), CUTOFF)


def transfer_function(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return T (1, 1, H, W // 2 + 1), complex, of the kernel (h, w) with its pixel (h // 2, w // 2) at the origin."""
    k = check_kernel(kernel, height, width).double()
    h, w = k.shape
    spread = k.new_zeros(height, width)
    spread[:h, :w] = k
    return torch.fft.rfft2(spread.roll((-(h // 2), -(w // 2)), (0, 1)))[None, None].to(torch.complex64)


def gaussian_kernel(deviation: float) -> Tensor:
    """Return the kernel (h, h) of a Gaussian blur, cut off beyond 3.3 deviations; its sum is 1.

    deviation: > 0, in pixels.
    """
    if not (math.isfinite(deviation) and deviation > 0):
        raise UnveilError(f"the blur's deviation must be finite and > 0 pixels, not {deviation}")
    from deepinv.physics.functional import gaussian_blur  # deepinv loads late

    return gaussian_blur(sigma=(deviation, deviation), dtype=torch.float64)[0, 0]


def build_blur(section: BlurSection, shape: tuple[int, int, int], count: int) -> Convolution:
    """Return the operator that a configuration describes, for `count` measurements of `shape` (C, H, W).

    Raises UnveilError unless the section has either a kernel or a deviation, and the kernel fits.
    """
    if section.kernel is not None and section.std is None:
        kernel = torch.from_numpy(read_real(section.kernel, "operator.kernel"))
    elif section.std is not None and section.kernel is None:
        kernel = gaussian_kernel(section.std)
    else:
        given = "neither" if section.kernel is None else "both"
        raise UnveilError(f"operator.kernel, operator.std: {given} given; a blur takes one of the two")
    return blur(kernel, shape[1], shape[2], shape[0])


def check_kernel(kernel: Tensor, height: int, width: int) -> Tensor:
    """Return k (h, w), float32, divided by its sum.

    Raises UnveilError where it is none for images of height x width.
    """
    if kernel.ndim != 2:
        raise UnveilError(f"the kernel has shape {tuple(kernel.shape)}: it must be (h, w), one kernel without colours")
    if kernel.shape[0] > height or kernel.shape[1] > width:
        raise UnveilError(
            f"the kernel has {kernel.shape[0]}x{kernel.shape[1]} pixels, more than the image's {height}x{width}: "
            "crop its dark margin, or give larger images"
        )
    kernel = kernel.double()
    total = float(kernel.sum())
    if not (math.isfinite(total) and total > 0):
        raise UnveilError(f"the kernel sums to {total:g}: it must be finite and > 0, the light that a point sends")
    return (kernel / total).float()
