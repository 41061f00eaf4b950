"""FITS images (Pence et al. 2010, https://doi.org/10.1051/0004-6361/201015362), fpacked or gzipped ones too.

Axes are as NumPy has them: the last two are rows and columns, the first row the bottom of the sky as viewers show it;
others (cubes) count images. A number v stands for BSCALE v + BZERO; BLANK, and NaN of floating point, for none: such
pixels were not measured (sections 4.4.2.4 and 5.3). Files of radio arrays (UVFITS, random groups) are another format
with the same extension: `unveil.data.uvfits`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data import uvfits
from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["EXTENSIONS", "open_raw", "scan"]

EXTENSIONS = tuple(f"{name}{packed}" for name in (".fits", ".fit", ".fts") for packed in ("", ".fz", ".gz"))
_USUAL = "SCI"
"""The extension of calibrated exposures, beside their errors and flags."""
_LISTED = 8


def scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    """Return the images of the file `path`: those of the extension `dataset`, or its only ones, or those called SCI.

    dataset: NAME (of all versions), NAME,VERSION or the number of the extension, 0 the first. axes: as in
    `open_images`. Raises UnveilError where `astropy` is not installed, and for several images of no such name.
    """
    if uvfits.is_uvfits(path):
        if dataset is not None:
            raise UnveilError(f"{path} is UVFITS, which has no images: leave dataset out")
        return uvfits.scan(path, axes)
    with open_raw(path) as hdus:
        found = {k: hdu.header for k, hdu in enumerate(hdus) if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2}
    return [_stored(path, k, found[k], axes) for k in _choose(path, dataset, found)]


def open_raw(path: Path) -> Any:
    """Return the open file, its numbers as they are stored."""
    try:
        from astropy.io import fits
    except ImportError:
        raise UnveilError(f"{path} needs the astropy package: pip install 'unveil[astro]'") from None
    with warnings.catch_warnings():  # of cards that do not hinder reading it
        warnings.simplefilter("ignore")
        return fits.open(path, do_not_scale_image_data=True)


def _choose(path: Path, dataset: str | None, found: Mapping[int, Any]) -> list[int]:
    """Return the numbers of the extensions that are meant."""
    names = {k: str(header.get("EXTNAME", "")).upper() for k, header in found.items()}
    if dataset is None:
        chosen = list(found) if len(found) == 1 else [k for k, name in names.items() if name == _USUAL]
        trouble = f"{path} holds several images: say which, by --set data.dataset=NAME or, in Python, dataset=NAME"
    else:
        wanted, _, version = dataset.upper().partition(",")
        chosen = [
            k for k, header in found.items()
            if wanted in (names[k], str(k)) and version.strip() in ("", str(header.get("EXTVER", 1)))
        ]  # fmt: skip
        trouble = f"{path} has no image {dataset!r}"
    if not found:
        raise UnveilError(f"{path} holds no image, which is an array of at least two axes: check that it is the file")
    if not chosen:
        listing = ", ".join(f"{names[k] or k} {_shape(header)}" for k, header in [*found.items()][:_LISTED])
        raise UnveilError(f"{trouble}; one of {listing}")
    return chosen


def _shape(header: Any) -> tuple[int, ...]:
    return tuple(int(header[f"NAXIS{k}"]) for k in range(header["NAXIS"], 0, -1))


def _stored(path: Path, k: int, header: Any, axes: str | None) -> StoredArray:
    shape, bits = _shape(header), int(header["BITPIX"])
    slope, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    dtype = np.dtype(f"{'f' if bits < 0 else 'u' if bits == 8 else 'i'}{abs(bits) // 8}")
    other = np.dtype("i1") if bits == 8 else np.dtype(f"u{bits // 8}") if bits > 0 else dtype
    blank = header.get("BLANK") if bits > 0 else None
    scale = None if (slope, zero) == (1, 0) else (slope, zero)
    if scale is not None and bits > 0 and slope == 1 and zero == (-128 if bits == 8 else 2 ** (bits - 1)):
        dtype, convert = other, partial(_offset, zero=int(zero), dtype=other)  # numbers of the other sign
        scale = None
    else:
        convert = partial(np.asarray, dtype=dtype)
    if blank is not None:
        wide = np.dtype(np.float32 if bits <= 16 and scale is None else np.float64)
        dtype, convert = wide, partial(_gaps, blank=int(blank), scale=(slope, zero), dtype=wide)
        scale = None
    axes = axes or "N" * (len(shape) - 2) + "HW"
    stored = StoredArray(
        path, str(k), shape, dtype, axes, partial(_Section, path, k, shape, dtype, convert), scale=scale,
        gaps=blank is not None or bits < 0,
    )  # fmt: skip
    check_count(str(path), stored.images)
    check_size(f"an image of {path}", math.prod(stored.image_shape) * dtype.itemsize)
    return stored


def _offset(v: np.ndarray, zero: int, dtype: np.dtype) -> np.ndarray:
    """Return v + zero: how FITS stores numbers of the sign that it has no type for."""
    return (v.astype(object) + zero).astype(dtype) if dtype.itemsize == 8 else (v.astype(np.int64) + zero).astype(dtype)


def _gaps(v: np.ndarray, blank: int, scale: tuple[float, float], dtype: np.dtype) -> np.ndarray:
    return np.where(v == blank, np.nan, v * scale[0] + scale[1]).astype(dtype)


class _Section:
    """An image of an open file, of which parts are read."""

    def __init__(self, path: Path, k: int, shape: tuple[int, ...], dtype: np.dtype, convert: Any) -> None:
        self._hdu = open_raw(path)[k]  # keeps the file open
        self.shape, self.dtype, self._convert = shape, dtype, convert
        if _shape(self._hdu.header) != shape:
            self.shape = _shape(self._hdu.header)  # `read` says that the file has changed

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        return self._convert(np.asarray(self._hdu.section[key]))
