"""Super-resolution: the detector's pixels are coarser than those of the image.

    y = S (k * x) + n,    (S u)_i = u_(f i + (f - 1) // 2),    sum_j k_j = 1

an antialiasing kernel k, then the pixel in the middle of each block of f x f. The image goes on periodically at its borders
(see `unveil.operators.blur`). The largest singular value of A is about 1 / f. A A^T is a convolution of coarse images, hence

    A^+ = A^T (A A^T)^-1,    A A^T diagonal in the Fourier basis: the mean of |k^|^2 over f^2 aliases

(Zhao et al. 2016, https://doi.org/10.1109/TIP.2016.2567075).
"""

import torch
from deepinv.physics import BlurFFT, LinearPhysics
from torch import Tensor

from unveil.errors import UnveilError
from unveil.operators.blur import check_kernel
from unveil.operators.files import read_real
from unveil.problem import Problem
from unveil.systems import SuperResolutionSystem

__all__ = ["build_super_resolution", "super_resolution"]

CUTOFF = 1e-5
"""A^+ leaves out what A shrinks below this part of what it shrinks least, as the pseudo-inverse of a blur does."""


def super_resolution(factor: int, height: int, width: int, channels: int = 1, kernel: Tensor | None = None) -> Problem:
    """The problem of images x (channels, height, width) from coarse ones y (channels, height / factor, width / factor).

    factor: f >= 2, the side of a coarse pixel in fine ones. height, width: of x, multiples of f. y is in the units of x.
    kernel: k (h, w) in fine pixels, up to its scale, or None for that of bicubic interpolation, widened by f; ones of shape
    (f, f) are a detector that gathers the light of its pixels. Sides as even or odd as f centre it on the blocks exactly.
    Raises UnveilError for a factor below 2, sides that are no multiples of it, or a kernel that `blur` refuses too.
    """
    if factor < 2 or factor != int(factor):
        raise UnveilError(f"the factor of super-resolution is {factor}: it must be an integer of at least 2")
    if min(height, width) < factor or height % factor or width % factor:
        raise UnveilError(
            f"the image has {height}x{width} pixels: for super-resolution by {factor} give multiples of {factor}"
        )
    shape = (channels, height, width)
    kernel = check_kernel(_bicubic(factor) if kernel is None else kernel, height, width)
    return Problem(
        _Decimation(shape, kernel[None, None], factor),
        image_shape=shape,
        measurement_shape=(channels, height // factor, width // factor),
    )


def build_super_resolution(system: SuperResolutionSystem, shape: tuple[int, int, int], count: int) -> Problem:
    """The problem that a configuration describes, for `count` measurements of `shape` (C, H, W), in coarse pixels."""
    kernel = None if system.kernel is None else torch.from_numpy(read_real(system.kernel, "system.kernel"))
    return super_resolution(system.factor, system.factor * shape[1], system.factor * shape[2], shape[0], kernel)


def _bicubic(factor: int) -> Tensor:
    """Bicubic interpolation's kernel (R. Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711), `factor` times as wide."""
    size = 4 * factor - factor % 2
    t = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / factor
    k = torch.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2)
    return torch.outer(k, k)


class _Decimation(LinearPhysics):
    """shape: (C, H, W) of the image. kernel: (1, 1, h, w).

    deepinv's `Downsampling` keeps the first pixel of each block, is bound to the kernel's precision, and iterates for A^+.
    """

    def __init__(self, shape: tuple[int, int, int], kernel: Tensor, factor: int) -> None:
        super().__init__()
        self.blur = BlurFFT(shape, filter=kernel)
        self.factor = factor
        middle = slice((factor - 1) // 2, None, factor)
        self.kept = (..., middle, middle)
        point = torch.zeros(1, shape[0], shape[1] // factor, shape[2] // factor, dtype=torch.float64)
        point[..., 0, 0] = 1
        # A A^T is a convolution: its eigenvalues are the transform of its response to a point. Float64 tells small ones from 0.
        power = torch.fft.fft2(self.A_A_adjoint(point)).real
        inverse = torch.where(power > CUTOFF**2 * power.amax(), power.reciprocal(), 0)
        self.register_buffer("inverse", inverse.float())

    def A(self, x: Tensor) -> Tensor:
        return self.blur.A(x)[self.kept]

    def A_adjoint(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:2], self.factor * y.shape[2], self.factor * y.shape[3])
        x[self.kept] = y
        return self.blur.A_adjoint(x)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(torch.fft.ifft2(torch.fft.fft2(y) * self.inverse).real)
