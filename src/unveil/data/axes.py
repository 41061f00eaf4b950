"""Which axis of a stored array is which: a string over N (image), C (channel), H (row), W (column): "NHW"."""

from __future__ import annotations

import numpy as np

from unveil.errors import UnveilError

__all__ = ["check_axes", "default_axes"]

_CHANNELS = (1, 2, 3, 4)
_PASS = 'pass axes="{0}" in Python, --set data.axes={0} on the command line'


def default_axes(shape: tuple[int, ...], dtype: np.dtype, where: str) -> str:
    """Return the axes of an array of images when the user named none: HW, NHW, NHWC or NCHW.

    Three axes are NHW, unless the last has 1 to 4 entries, which may be colour: then `axes` is asked for. Four are NHWC
    if the last has 1 to 4 entries, otherwise NCHW if the second has. Complex numbers are NHW and NCHW whatever their
    sizes: k-space of several coils, C.
    Raises UnveilError, which asks for `axes`, for anything else.
    """
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3 and shape[2] in _CHANNELS and dtype.kind != "c":  # no camera has so few columns
        n, h, w = shape
        raise UnveilError(
            f"{where}: {n} images of {h} x {w} pixels: is the last axis colour? {_PASS.format('HWC')}; or NHW if they "
            "are that small"
        )
    if len(shape) == 3:
        return "NHW"
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return "NHWC"
    if len(shape) == 4 and (shape[1] in _CHANNELS or dtype.kind == "c"):
        return "NCHW"
    if len(shape) < 2:
        raise UnveilError(f"{where}: an array of shape {shape} is no image: it needs rows and columns")
    if len(shape) > 4 and shape[-1] == 2 and dtype.kind != "c":
        raise UnveilError(
            f"{where}: an array of shape {shape}: are real and imaginary parts on its last axis? Save a[..., 0] + 1j * "
            "a[..., 1]"
        )
    raise UnveilError(
        f"{where}: cannot tell which of the axes of shape {shape} are images, channels, rows and columns: "
        f"one letter of N, C, H, W for each is needed; {_PASS.format('NCHW')}"
    )


def check_axes(axes: str, shape: tuple[int, ...], where: str) -> str:
    """Return `axes` in upper case, if it describes an array of `shape`.

    H and W occur once, C at most once; N may repeat, e.g. "NNHW" for a stack over time and depth.
    Raises UnveilError for letters that do not fit, for a number of axes that does not, and for an empty array.
    """
    letters = axes.upper()
    if set(letters) - set("NCHW") or letters.count("H") != 1 or letters.count("W") != 1 or letters.count("C") > 1:
        raise UnveilError(
            f'axes is "{axes}": it must contain H and W once, C at most once and N for the rest; {_PASS.format("NCHW")}'
        )
    if len(letters) != len(shape):
        raise UnveilError(
            f'{where}: axes="{axes}" names {len(letters)} axes but the array has {len(shape)}, of shape '
            f"{shape}: pass one letter for each"
        )
    if 0 in shape:
        raise UnveilError(f"{where}: the array of shape {shape} is empty: leave it out or measure again")
    return letters
