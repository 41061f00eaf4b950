"""Periodic convolutions: operators that multiply each frequency of the image by a number."""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.operators.base import Operator

__all__ = ["Convolution"]


class Convolution(Operator):
    """x -> F^-1 T F x, of images (C, H, W) that go on periodically at their borders.

    transfer: T (1 or N, 1, H, W // 2 + 1), real or complex, at the frequencies of `torch.fft.rfft2`.
    cutoff: of |T|; at frequencies where it is smaller A^+ counts as blind. Noise grows by 1 / |T| at the others.
    """

    kind = "blur"
    rows = ("measured", "transfer")

    def __init__(self, image_shape: tuple[int, ...], transfer: Tensor, cutoff: float) -> None:
        self.image_shape = self.measurement_shape = image_shape
        self.transfer, self.cutoff = transfer, cutoff

    def response(self) -> Tensor:
        """Return T."""
        return self.transfer

    def _apply(self, x: Tensor) -> Tensor:
        return self._filter(x, self.response())

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._filter(y, self.response().conj())

    def A_dagger(self, y: Tensor) -> Tensor:
        """Return A^+ y (B, C, H, W) where every pixel is measured: division by T, where it is not too small."""
        transfer = self._precise(y)
        seen = transfer.abs() >= self.cutoff
        return self._filter(self.project(y), torch.where(seen, 1 / torch.where(seen, transfer, 1), 0))

    def gram(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
        if self.measured is not None:  # A^T M A is no convolution
            return None
        return self._filter(x, function(self._precise(x).abs().square()))

    def _precise(self, x: Tensor) -> Tensor:
        """Return T in the precision of x, so that what is computed from it is."""
        transfer = self.response()
        return transfer.to(torch.promote_types(transfer.dtype, x.dtype))

    def _filter(self, x: Tensor, factor: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        return torch.fft.irfft2(spectrum * factor.to(spectrum if factor.is_complex() else x), s=x.shape[-2:])
