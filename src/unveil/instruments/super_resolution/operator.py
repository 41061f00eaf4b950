"""Super-resolution: the detector's pixels are coarser than those of the image.

    y = S (k * x) + n,    (S u)_i = u_(f i + (f - 1) // 2),    sum_j k_j = 1

an antialiasing kernel k, then the pixel in the middle of each block of f x f. The image goes on periodically at its
borders (see `unveil.operators.blur`). The largest singular value of A is about 1 / f. A A^T is a convolution of coarse
images, hence

    A^+ = A^T (A A^T)^-1,    A A^T diagonal in the Fourier basis: the mean of |k^|^2 over f^2 aliases

(Zhao et al. 2016, https://doi.org/10.1109/TIP.2016.2567075).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.blur.operator import blur
from unveil.instruments.files import read_real
from unveil.instruments.super_resolution import SuperResolutionSection
from unveil.operators.base import Operator
from unveil.operators.convolution import Convolution
from unveil.shapes import expand

__all__ = ["Decimation", "build_super_resolution", "super_resolution"]

CUTOFF = 1e-5
"""A^+ leaves out what A shrinks below this part of what it shrinks least, as the pseudo-inverse of a blur does."""


def super_resolution(
    factor: int, height: int, width: int, channels: int = 1, kernel: Tensor | None = None
) -> "Decimation":
    """Return the operator of images x (channels, height, width) from coarse ones y.

    y: (channels, height / factor, width / factor), in the units of x. factor: f >= 2, the side of a coarse pixel in
    fine ones. height, width: of x, multiples of f.
    kernel: k (h, w) in fine pixels, up to its scale, or None for that of bicubic interpolation, widened by f; ones of
    shape (f, f) are a detector that gathers the light of its pixels. Sides as even or odd as f centre it on the blocks
    exactly. Raises UnveilError for a factor below 2, sides that are no multiples of it, or a kernel that `blur` refuses
    too.
    """
    if factor < 2 or factor != int(factor):
        raise UnveilError(f"the factor of super-resolution is {factor}: it must be an integer of at least 2")
    if min(height, width) < factor or height % factor or width % factor:
        raise UnveilError(
            f"the image has {height}x{width} pixels: for super-resolution by {factor} give multiples of {factor}"
        )
    return Decimation(blur(_bicubic(factor) if kernel is None else kernel, height, width, channels), factor)


def build_super_resolution(section: SuperResolutionSection, shape: tuple[int, int, int], count: int) -> "Decimation":
    """Return the operator that a configuration describes, for `count` measurements.

    shape: (C, H, W), in coarse pixels.
    """
    kernel = None if section.kernel is None else torch.from_numpy(read_real(section.kernel, "operator.kernel"))
    return super_resolution(section.factor, section.factor * shape[1], section.factor * shape[2], shape[0], kernel)


def _bicubic(factor: int) -> Tensor:
    """Return bicubic interpolation's kernel, `factor` times as wide.

    R. Keys 1981, https://doi.org/10.1109/TASSP.1981.1163711.
    """
    size = 4 * factor - factor % 2
    t = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / factor
    k = torch.where(t <= 1, 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2)
    return torch.outer(k, k)


class Decimation(Operator):
    """blur: of the image (C, H, W). factor: one pixel is kept of factor x factor.

    deepinv's `Downsampling` keeps the first pixel of each block, is bound to the kernel's precision, and iterates for
    A^+.
    """

    kind = "super_resolution"

    def __init__(self, blur: Convolution, factor: int) -> None:
        channels, height, width = blur.image_shape or ()
        self.blur, self.factor = blur, factor
        self.image_shape, self.measurement_shape = blur.image_shape, (channels, height // factor, width // factor)
        middle = slice((factor - 1) // 2, None, factor)
        self.kept = (..., middle, middle)
        # A A^T is a convolution: its eigenvalues are the transform of its response to a point. Float64 tells small ones
        # from 0.
        point = torch.zeros(1, 1, *self.measurement_shape[1:], dtype=torch.float64)
        point[..., 0, 0] = 1
        self.power = torch.fft.rfft2(self._apply(self._adjoint(point))).real  # (1, 1, h, w // 2 + 1)

    def _apply(self, x: Tensor) -> Tensor:
        return self.blur.A(x)[self.kept]

    def _adjoint(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:2], self.factor * y.shape[2], self.factor * y.shape[3])
        x[self.kept] = y
        return self.blur.A_adjoint(x)

    def A_dagger(self, y: Tensor) -> Tensor:
        seen = self.power > CUTOFF**2 * self.power.amax()
        return self.A_adjoint(self._filter(self.project(y), torch.where(seen, 1 / self.power, 0)))

    def gram(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Return g(A^T A) x (B, *image), g being `function`.

            g(A^T A) = g(0) I + A^T (g(A A^T) - g(0)) (A A^T)^-1 A

        for A^T A is 0 beyond the range of A^T.
        """
        if self.measured is not None:
            return None
        power = self.power.to(x)
        nothing, seen = function(torch.zeros((), dtype=x.dtype, device=x.device)), power > CUTOFF**2 * power.amax()
        factor = torch.where(seen, (function(power) - nothing) / torch.where(seen, power, 1), 0)
        return nothing * x + self._adjoint(self._filter(self._apply(x), factor))

    def ridge(self, r: Tensor, lambda_: Tensor) -> Tensor:
        if self.measured is not None:
            return super().ridge(r, lambda_)
        return self._adjoint(self._filter(r, 1 / (self.power.to(r) + expand(lambda_, r))))

    def _filter(self, y: Tensor, factor: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(y) * factor.to(y), s=y.shape[-2:])
