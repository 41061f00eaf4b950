"""Accelerated Cartesian MRI: the Fourier transform of a complex image on some columns of k-space.

Seen by one coil or several.

    y_c = M (F S_c x + n_c),   c = 1 .. coils

F is the centred Fourier transform, unitary; M the mask; S_c a coil's sensitivity, 1 for a single coil
(Pruessmann et al. 1999, SENSE, https://pubmed.ncbi.nlm.nih.gov/10542355/).

F being unitary, white noise of level sigma on the real and on the imaginary part of k-space is, with every frequency
measured and sum_c |S_c|^2 = 1, white noise of that level in the image A^T y. Coils whose noise has the covariance
Psi = L L^H are whitened first: L^-1 on the coils of y and of S.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fft import fft2, fftn, fftshift, ifft2, ifftn, ifftshift

from unveil.errors import UnveilError
from unveil.instruments.mri import MRISection
from unveil.instruments.mri.coils import check_coils, read_coils
from unveil.instruments.mri.masks import check_mask, read_mask
from unveil.operators.base import Coarser, Operator
from unveil.words import counted

__all__ = ["KSpace", "build_mri", "magnitude", "mri"]


def mri(mask: Tensor, sensitivities: Tensor | None = None, height: int | None = None) -> "KSpace":
    """Return the operator of images x (2, H, W), real and imaginary part, measured in k-space on `mask`.

    mask: (H, W) boolean or 0 and 1, 1 where k-space is measured (the zero frequency at H // 2, W // 2); (W,), its
        columns; or (N, H, W), one mask for each of N measurements.
    sensitivities: S (coils, H, W) complex, without unit, or (N, coils, H, W); None for a single coil. x has the units
        of y / S, which are those of y where S is normalized (`normalize_coils`).
    height: H; needed for a mask of columns and a single coil, not otherwise.
    y: (2, H, W), real and imaginary part, of a single coil; (2 coils, H, W), the real parts of all coils, then their
        imaginary parts, of several.
    Raises UnveilError for a mask or sensitivities of another shape or kind, and for a mask that measures nothing.
    """
    if mask.ndim == 1:
        height = height if sensitivities is None else sensitivities.shape[-2]
        if height is None:
            raise UnveilError("a mask of columns (W,) does not tell the number of rows: pass height, or a mask (H, W)")
        mask = mask.expand(height, -1)
    check_mask(mask)
    if sensitivities is not None:
        check_coils(sensitivities, mask)
        sensitivities = sensitivities if sensitivities.ndim == 4 else sensitivities[None]
        if mask.ndim == 3 and len({len(mask), len(sensitivities), 1}) > 2:
            raise UnveilError(
                f"there are {len(mask)} masks and {len(sensitivities)} sets of sensitivities: give one of each per "
                "measurement"
            )
    return KSpace((mask if mask.ndim == 3 else mask[None])[:, None] != 0, sensitivities)


def build_mri(section: MRISection, shape: tuple[int, int, int], count: int) -> "KSpace":
    """Return the operator that a configuration describes, for `count` measurements of `shape` (2 coils, H, W).

    Raises UnveilError when the measurements are not complex k-space, or when mask or sensitivities do not fit them.
    """
    return with_mask(section, read_mask(section.mask, *shape[1:], count), shape, count)


def with_mask(section: MRISection, mask: Tensor, shape: tuple[int, ...], count: int) -> "KSpace":
    """Return the operator that a configuration describes but for its mask, see `mri`, and raise where `build_mri`."""
    channels, height, width = shape
    if channels % 2:
        raise UnveilError(
            f"the measurements have {counted(channels, 'channel')}, an odd number: operator.kind mri needs complex "
            "k-space, in complex arrays, or as channels, the real parts of all coils and then their imaginary parts"
        )
    if section.coils is None and channels != 2:
        raise UnveilError(
            f"operator.coils is not set, and the k-space has {channels // 2} coils: give their sensitivities, a .npy "
            f"of complex numbers ({channels // 2}, {height}, {width}), or set it to estimate, from the centre of "
            "k-space"
        )
    coils = None if section.coils is None else read_coils(section.coils, channels // 2, height, width, count)
    return mri(mask, coils, height)


def magnitude(x: Tensor) -> Tensor:
    """Return |x| (..., 1, H, W) of complex images x (..., 2, H, W), in the units of x."""
    return torch.linalg.vector_norm(x, dim=-3, keepdim=True)


class KSpace(Operator):
    """Images (2, H, W) seen on `measured` (1 or N, 1, H, W) by one coil, or by coils of given sensitivities.

    sensitivities: (1 or N, coils, H, W), complex; None: one coil.
    """

    kind = "mri"
    rows = ("measured", "mask", "sensitivities")

    def __init__(self, measured: Tensor, sensitivities: Tensor | None = None) -> None:
        coils = 1 if sensitivities is None else sensitivities.shape[1]
        self.image_shape, self.measurement_shape = (2, *measured.shape[-2:]), (2 * coils, *measured.shape[-2:])
        self.mask = self.measured = measured
        self.sensitivities = sensitivities
        self.projects = sensitivities is None

    def _apply(self, x: Tensor) -> Tensor:
        seen = torch.complex(x[:, :1], x[:, 1:])
        if self.sensitivities is not None:
            seen = seen * self.sensitivities.to(seen)
        y = fftshift(fft2(ifftshift(seen, dim=PLANE), norm="ortho"), dim=PLANE)
        return torch.cat([y.real, y.imag], 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        real, imaginary = y.chunk(2, 1)
        seen = fftshift(ifft2(ifftshift(torch.complex(real, imaginary), dim=PLANE), norm="ortho"), dim=PLANE)
        if self.sensitivities is not None:
            seen = (seen * self.sensitivities.to(seen).conj()).sum(1, keepdim=True)
        return torch.cat([seen.real, seen.imag], 1)

    def normal(self) -> Callable[[Tensor], Tensor]:
        """Return what applies A^T A = sum_c S_c^* F^-1 M F S_c, without shifts, and along the measured axis alone.

        F^-1 M F is a circular convolution: it commutes with the shifts that centre F, and where the mask is of whole
        columns it convolves along the rows of the image only. Of 8 coils, 64x64 and two proximal steps a gradient step
        costs 1.4 times that of a single coil; by A and A^T 2.2 times.
        """
        measured, coils = self.measured, self.sensitivities
        if measured is None or measured.ndim != 4 or measured.shape[1] != 1:  # coils, or parts, that differ
            return super().normal()
        columns = bool((measured == measured[..., :1, :]).all())
        axes = (-1,) if columns else PLANE
        kept = ifftshift(measured[..., :1, :] if columns else measured, dim=axes)

        def apply(x: Tensor) -> Tensor:
            seen = torch.complex(x[:, :1], x[:, 1:])
            S = None if coils is None else coils.to(seen)
            seen = seen if S is None else seen * S
            seen = ifftn(fftn(seen, dim=axes) * kept, dim=axes)
            seen = seen if S is None else (seen * S.conj()).sum(1, keepdim=True)
            return torch.cat([seen.real, seen.imag], 1)

        return apply

    def A_dagger(self, y: Tensor) -> Tensor:
        """Return A^T y / sum_c |S_c|^2 (B, 2, H, W), zero where no coil sees: what is not measured counts as zero.

        The least-squares image where every frequency is measured. Where not, that of several coils needs hundreds of
        iterations and enhances noise without bound (Pruessmann et al. 1999), and this is the zero-filled image of a
        single coil instead.
        """
        x = self.A_adjoint(y)
        if self.sensitivities is None:
            return x
        power = self._power().to(x.dtype)
        return x / torch.where(power > 0, power, 1)

    def full_scan(self) -> tuple[Tensor, Tensor]:
        """Return sum_c |S_c|^2 (B, 1, H, W), and R (B,): F is unitary, so that A^T A is diagonal."""
        weight = torch.ones_like(self.mask, dtype=torch.float32) if self.sensitivities is None else self._power()
        return weight, 1 / self.mask.flatten(1).double().mean(1)

    def _power(self) -> Tensor:
        assert self.sensitivities is not None
        return self.sensitivities.abs().square().sum(1, keepdim=True)

    def coarser(self, k: int) -> Coarser:
        """Return the middle of k-space, and S at every k-th pixel, where those of the coarse image lie: S is smooth."""
        height, width = self.mask.shape[-2:]
        if height % k or width % k:
            raise UnveilError(
                f"an image of {height}x{width} pixels cannot be dilated by {k}: use a factor of its sides"
            )
        middle, coarse = (
            _middle(self.mask, k),
            None if self.sensitivities is None else self.sensitivities[..., ::k, ::k],
        )
        if not bool(middle.flatten(-2).any(-1).all()):
            raise UnveilError(f"a mask misses all of the middle 1 / {k} of k-space: leave {k} out of the scales")
        # F is unitary: of an image with k^2 times fewer pixels of the same values each coefficient is k times smaller
        return KSpace(middle, coarse), lambda y: _middle(y, k) / k


PLANE = (-2, -1)


def _middle(kspace: Tensor, k: int) -> Tensor:
    """Cut (..., H, W) to (..., H / k, W / k).

    The zero frequency is at H // 2, W // 2 before and at half the sides afterwards.
    """
    height, width = (side // k for side in kspace.shape[-2:])
    top, left = kspace.shape[-2] // 2 - height // 2, kspace.shape[-1] // 2 - width // 2
    return kspace[..., top : top + height, left : left + width]
