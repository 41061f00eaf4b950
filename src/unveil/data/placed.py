"""An image (C, H, W) into its place in a stored array, and into its type."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_type", "place"]


def place(array: Any, axes: str, k: int, x: np.ndarray) -> None:
    """Put the image x (C, H, W) at the k-th place of `array`, whose axes are letters of N, C, H, W."""
    stack = tuple(n for n, a in zip(array.shape, axes) if a == "N")
    where = iter(np.unravel_index(k, stack) if stack else ())
    kept = axes.replace("N", "")
    if "C" not in kept:
        x = x[0]
    letters = "CHW" if "C" in kept else "HW"
    index = tuple(int(next(where)) if a == "N" else slice(None) for a in axes)
    array[index] = x.transpose([letters.index(a) for a in kept])


def as_type(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Return (`values` as `dtype`, how many were clipped).

    Integers are rounded, and held within the range of the type.
    """
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False), 0
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    rounded = np.rint(values.astype(np.float64))
    above = rounded >= high  # which a float may not represent exactly
    out = np.where(above, 0, rounded.clip(min=low)).astype(dtype)
    out[above] = high
    return out, int(((rounded < low) | (rounded > high)).sum())
