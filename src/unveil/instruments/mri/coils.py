"""Several receive coils: their sensitivities S_c, and A with them.

Coil c sees the image x times S_c, and

    sum_c |S_c|^2 = 1   wherever some coil sees

makes x the image of an ideal coil, and A^T the best combination of coils with white noise (Roemer et al. 1990, The NMR
phased array, https://doi.org/10.1002/mrm.1910160203): with every frequency measured, A^T A = I there.
"""

import math

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.files import read_array

__all__ = ["birdcage_coils", "check_coils", "normalize_coils", "read_coils"]

_RADIUS = 1.5
"""Of the ring of coils, in half sides of the image. The image's corners lie at 1.41: fields are steep there alone."""


def birdcage_coils(coils: int, height: int, width: int, dtype: torch.dtype = torch.complex64) -> Tensor:
    """Simulate smooth, normalized sensitivities S (coils, H, W): straight wires on a ring around the image.

    The field of a wire at p is 1 / conj(z - p) in the pixel z, complex numbers in the plane, up to a constant; the wire
    at the angle theta has the phase exp(-i theta), so that all agree in the centre, as in a birdcage (Hayes et al.
    1985, https://doi.org/10.1016/0022-2364(85)90257-4). dtype: complex. Raises UnveilError for less than one coil.
    """
    if coils < 1:
        raise UnveilError(f"there must be at least one coil, not {coils}")
    down = (2 * torch.arange(height, dtype=torch.float64) + 1) / height - 1
    across = (2 * torch.arange(width, dtype=torch.float64) + 1) / width - 1
    z = torch.complex(across.expand(height, width), down[:, None].expand(height, width))
    theta = (2 * math.pi / coils * torch.arange(coils, dtype=torch.float64))[:, None, None]
    turn = torch.polar(torch.ones_like(theta), theta)
    return normalize_coils(turn.conj() / (_RADIUS * turn - z).conj()).to(dtype)


def normalize_coils(sensitivities: Tensor) -> Tensor:
    """Return S / (sum_c |S_c|^2)^(1/2) of sensitivities (..., coils, H, W), complex; zero where no coil sees."""
    norm = torch.linalg.vector_norm(sensitivities, dim=-3, keepdim=True)
    return sensitivities / torch.where(norm > 0, norm, 1)


def check_coils(sensitivities: Tensor, mask: Tensor) -> None:
    """Raise UnveilError unless these are finite complex sensitivities of the mask's H, W.

    sensitivities: (coils, H, W) or (N, coils, H, W).
    """
    shape = tuple(sensitivities.shape)
    if not sensitivities.is_complex() or sensitivities.ndim not in (3, 4):
        raise UnveilError(
            f"the sensitivities are {sensitivities.dtype} of shape {shape}: they must be complex, (coils, H, W), or "
            "(N, coils, H, W) for one set per measurement"
        )
    if shape[-2:] != mask.shape[-2:]:
        raise UnveilError(f"the sensitivities have shape {shape} and the mask {tuple(mask.shape)}: H and W must agree")
    if not bool(sensitivities.isfinite().all()):
        raise UnveilError("the sensitivities contain NaN or infinite values: set them to 0 where they are unknown")
    if not bool((sensitivities != 0).flatten(-3).any(-1).all()):
        raise UnveilError("the sensitivities of a measurement are 0 everywhere: give those of the coils that measured")


def read_coils(path: str, coils: int, height: int, width: int, count: int) -> Tensor:
    """Return the sensitivities in a .npy file, complex64, for `count` measurements.

    (coils, H, W) or (count, coils, H, W).

    Raises UnveilError for another shape or another number of coils, and for real numbers.
    """
    found = read_array(path, "operator.coils")
    if found.dtype.kind != "c" or found.ndim not in (3, 4):
        raise UnveilError(
            f"operator.coils: {path} holds {found.dtype} of shape {found.shape}; give complex numbers (coils, H, W), "
            "or (N, coils, H, W) for one set per measurement"
        )
    if found.shape[-3] != coils:
        hint = (
            "; k-space (coils, H, W) of a single slice needs an axis in front, (1, coils, H, W)" if coils == 1 else ""
        )
        raise UnveilError(
            f"operator.coils: {path} has the sensitivities of {found.shape[-3]} coils, and the k-space has {coils} "
            f"({2 * coils} real channels){hint or '; give the sensitivities of the coils that measured'}"
        )
    if found.shape[-2:] != (height, width) or (found.ndim == 4 and len(found) != count):
        raise UnveilError(
            f"operator.coils: {path} has shape {found.shape}, and the {count} measurements are {height}x{width}; give "
            f"sensitivities ({coils}, {height}, {width}), or one such set for each measurement"
        )
    return torch.from_numpy(found.astype(np.complex64))
