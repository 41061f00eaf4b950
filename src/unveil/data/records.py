"""Complex numbers stored as records of two fields, as MATLAB (-v7.3) and other programs write them to HDF5 and zarr."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Records", "number"]

_PARTS = (("real", "imag"), ("re", "im"), ("r", "i"), ("real", "imaginary"))
"""What the fields are called, in capitals or not; h5py itself knows ("r", "i") of floating point."""


def number(dtype: np.dtype) -> np.dtype:
    """Return the type of the numbers that entries of `dtype` stand for.

    Complex for records of two parts, or else `dtype` itself.
    """
    names = dtype.names or ()
    if tuple(name.lower() for name in names) not in _PARTS:
        return dtype
    parts = [dtype[name] for name in names]
    if any(part.kind not in "iuf" for part in parts):
        return dtype
    return np.result_type(*parts, np.complex64)


class Records:
    """An opened array of records, read as complex numbers."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = tuple(array.shape)
        self.dtype = number(array.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        v = np.asarray(self._array[key])
        real, imaginary = (v[name] for name in self._array.dtype.names)
        out = np.empty(v.shape, self.dtype)
        out.real, out.imag = real, imaginary
        return out
