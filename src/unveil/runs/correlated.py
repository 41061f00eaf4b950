"""Correlated noise as a configuration states it: its files read, and what is to be estimated found in the data."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.files import read_array, read_real
from unveil.noise import Correlated
from unveil.noise.estimate.spectrum import NoiseFound
from unveil.noises import CorrelatedNoise, Matrix

__all__ = ["coil_covariance", "read_covariance", "stated_correlation"]


def stated_correlation(stated: CorrelatedNoise, width: float, in_images: Callable[[], NoiseFound]) -> Correlated:
    """Return the noise on the [0, 1] scale.

    width: of the values that are read as 0 to 1. in_images: finds the spectrum in the data. Raises UnveilError for
    files that cannot be read, and numbers that describe no noise.
    """
    covariance = None if stated.covariance is None else _covariance(stated.covariance)
    kernel, rows, columns = None, stated.rows, stated.columns
    found = in_images() if stated.kernel == "estimate" else None
    if found is not None:
        kernel, rows, columns = found.kernel.float(), found.rows, found.columns
    elif stated.kernel is not None:
        kernel = _kernel(stated.kernel)
    if not isinstance(stated.sigma, str):
        sigma = stated.sigma
    elif covariance is not None:
        sigma = float(covariance.double().diagonal().mean().clamp_min(0).sqrt()) / width
    elif found is not None:
        sigma = found.sigma
    else:
        raise UnveilError(
            "noise.sigma: it is not estimated where kernel, rows or columns are stated: state noise.sigma too, or let "
            "noise.kernel=estimate find all of them"
        )
    return Correlated(sigma, kernel, rows, columns, covariance)


def coil_covariance(covariance: np.ndarray) -> np.ndarray:
    """Return the covariance (2 C, 2 C) of real parts, then imaginary parts, of complex noise of covariance (C, C).

    E[n n^H] of circular noise: half of its real part for each, and its imaginary part between them.
    """
    if covariance.dtype.kind != "c":
        return covariance
    real, imaginary = covariance.real / 2, covariance.imag / 2
    return np.block([[real, -imaginary], [imaginary, real]])


def read_covariance(path: str, key: str) -> np.ndarray:
    """Return the covariance (C, C) of real channels in a file that holds it, or samples of the noise.

    The file: (C, C), complex ones of coils (`coil_covariance`); or a noise scan, a list (n, C) with n >= 2 C or frames
    (n, C, H, W). key: of the configuration, for the messages. Raises UnveilError for another shape.
    """
    array = read_array(path, key)
    if array.ndim == 4:
        array = np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
    if array.ndim == 2 and len(array) >= 2 * array.shape[1] > 0:
        return coil_covariance(np.atleast_2d(np.cov(array, rowvar=False)))
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise UnveilError(
            f"{key}: {path} has shape {array.shape}; give the covariance of the channels or coils (C, C), or a noise "
            "scan, samples (n, C) with n >= 2 C or frames (n, C, H, W)"
        )
    return coil_covariance(array)


def _covariance(stated: str | Matrix) -> Tensor:
    if isinstance(stated, str):
        return torch.from_numpy(read_covariance(stated, "noise.covariance").astype("float64")).float()
    if {len(row) for row in stated} != {len(stated)}:
        raise UnveilError("noise.covariance: its rows and columns differ in number; give (C, C)")
    return torch.tensor(stated)


def _kernel(stated: str | Matrix) -> Tensor:
    if not isinstance(stated, str) and len({len(row) for row in stated}) != 1:
        raise UnveilError("noise.kernel: its rows differ in length; give (h, w)")
    array = read_real(stated, "noise.kernel") if isinstance(stated, str) else np.asarray(stated, "float64")
    return torch.from_numpy(array).float()
