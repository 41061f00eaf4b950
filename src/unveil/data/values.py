"""From stored numbers to float32: the one place where a value range is decided.

Integers v are mapped to v / max of their type, so that uint8 and uint16 fill [0, 1] (negative ones pass below
0). Floating point passes unchanged. With `value_range` = (low, high) either becomes (v - low) / (high - low),
never clipped: noise passes below 0 and above 1, and clipping it would bias every loss. Complex channels
become twice as many: the real parts of all, then the imaginary parts of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from unveil.errors import UnveilError

__all__ = ["check_dtype", "check_value_range", "natural_range", "to_float32"]


def check_value_range(value_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Return (low, high) as floats, or None.

    Raises UnveilError unless there are two finite numbers, low < high.
    """
    if value_range is None:
        return None
    try:
        low, high = (float(v) for v in value_range)
    except (TypeError, ValueError):
        raise UnveilError(f"value_range is {value_range!r}: pass two numbers (low, high)") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UnveilError(f"value_range is ({low:g}, {high:g}): low must be below high, and both finite")
    return low, high


def check_dtype(dtype: np.dtype, where: str) -> None:
    """Raise UnveilError for what is no measurement: true/false, text, records."""
    if dtype.kind == "b":
        raise UnveilError(f"{where} holds true/false values, not measurements: store integers or floating point")
    if dtype.kind not in "iufc":
        raise UnveilError(f"{where} holds {dtype}, not numbers: store integers, floating point or complex")


def natural_range(dtype: np.dtype) -> tuple[float, float]:
    """Return (low, high), the stored numbers that are read as 0 and 1 where no value range is stated."""
    return (0.0, float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (0.0, 1.0)


def to_float32(v: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Return the stored values v (C, h, w) as new contiguous float32 (C, h, w), complex ones as (2C, h, w)."""
    if v.dtype.kind == "c":
        v = np.concatenate([v.real, v.imag])
    exact = v.dtype.itemsize <= 2 or v.dtype.newbyteorder("=") == np.float32  # float32 holds these without rounding
    if value_range is None and v.dtype.kind in "iu":
        value_range = natural_range(v.dtype)
    out = np.array(v, dtype=np.float32 if exact else np.float64, order="C")
    if value_range is not None:
        low, high = value_range
        if low != 0.0:
            np.subtract(out, low, out=out)
        np.divide(out, high - low, out=out)
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and `read` says so
        return out.astype(np.float32, copy=False)
