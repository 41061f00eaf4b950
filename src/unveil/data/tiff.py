"""TIFF: one page or many, memory-mapped where the pixels lie uncompressed in one piece, else page by page.

The axes the file itself declares (ImageJ, OME, tifffile) are used: S and C are channels, Y and X rows and
columns, and every other one (pages, time, depth) counts images. Pages of different sizes are images of
different sizes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.axes import check_axes
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["scan"]


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """The arrays of the file `path`; axes: as in `open_images`, for files of one page without N as well."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return [stored for number, series in enumerate(file.series) for stored in _series(path, number, series, axes)]


def _series(path: Path, number: int, series: Any, axes: str | None) -> list[StoredArray]:
    import tifffile

    where, page = str(path), series.keyframe
    if series.is_multifile:
        raise UnveilError(f"{where} continues in other files (OME-TIFF): save it as one file")
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UnveilError(f"{where} stores palette colours: save it as grey or RGB")
    if {int(e) for e in page.extrasamples} & {1, 2}:
        raise UnveilError(f"{where} has an alpha channel: save it without")
    for table, code in (
        (tifffile.TIFF.DECOMPRESSORS, page.compression),
        (tifffile.TIFF.UNPREDICTORS, page.predictor),
    ):
        if code not in table:
            raise UnveilError(
                f"{where} is compressed with {code.name}, which needs another package: "
                "pip install imagecodecs, or save it uncompressed"
            )
    shape, dtype = tuple(series.shape), np.dtype(series.dtype)
    if axes is None:
        axes = _declared(series.axes, shape, where)
    elif len(shape) == len(axes) - axes.upper().count("N"):
        axes = axes.upper().replace("N", "")
    axes = check_axes(axes, shape, where)
    if series.dataoffset is not None:
        dtype = dtype.newbyteorder(series.keyframe.parent.byteorder)  # Fiji and some cameras write big-endian
        return [StoredArray(path, "", shape, dtype, axes, partial(_memmap, path, number))]
    return _pages(path, number, series, shape, dtype, axes)


def _pages(
    path: Path, number: int, series: Any, shape: tuple[int, ...], dtype: np.dtype, axes: str
) -> list[StoredArray]:
    """One stored array per image, so that an image decodes its own pages alone."""
    page_shape = tuple(series.keyframe.shape)
    lead = len(shape) - len(page_shape)
    if lead < 0 or shape[lead:] != page_shape or "N" in axes[lead:] or len(series.pages) != np.prod(shape[:lead]):
        return [StoredArray(path, "", shape, dtype, axes, partial(_whole, path, number))]
    stack = [k for k in range(lead) if axes[k] == "N"]
    numbers: np.ndarray = np.arange(len(series.pages)).reshape(shape[:lead])
    numbers = np.moveaxis(numbers, stack, range(len(stack)))
    kept = tuple(n for n, a in zip(shape, axes) if a != "N")
    numbers = numbers.reshape(-1, int(np.prod(kept[: len(kept) - len(page_shape)])))
    arrays = []
    for pages in numbers.tolist():
        indices = [series.pages[k].index for k in pages]
        inside = f"page {indices[0]}" if len(series.pages) > 1 else ""
        load = partial(_decode, path, indices, kept)
        arrays.append(StoredArray(path, inside, kept, dtype, axes.replace("N", ""), load))
    return arrays


def _declared(letters: str, shape: tuple[int, ...], where: str) -> str:
    """Tifffile's axes, e.g. QYX or TZCYXS, as N, C, H, W."""
    known = {"Y": "H", "X": "W", "S": "C", "C": "C"}
    axes = "".join(known.get(a, "N") for a in letters)
    if axes.count("C") > 1 or axes.count("H") != 1 or axes.count("W") != 1:
        raise UnveilError(
            f"{where} declares the axes {letters} of shape {shape}: pass axes, one letter of N, C, H, W for "
            "each, "
            'e.g. axes="NCHW"'
        )
    return axes


def _memmap(path: Path, number: int) -> np.ndarray:
    import tifffile

    return tifffile.memmap(path, series=number, mode="r")


def _decode(path: Path, indices: list[int], shape: tuple[int, ...]) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return np.stack([file.pages[k].asarray() for k in indices]).reshape(shape)


def _whole(path: Path, number: int) -> np.ndarray:
    import tifffile

    return tifffile.imread(path, series=number)
