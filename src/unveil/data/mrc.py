"""MRC, the format of electron microscopy: a micrograph, or a stack of particles, in a memory map.

Modes 0 (int8), 1 (int16), 2 (float32), 6 (uint16) and 12 (float16), and 4 (complex64); a third axis counts images,
whether the file calls itself a stack or a volume (Cheng et al. 2015, https://doi.org/10.1016/j.jsb.2015.04.002).
Integers are counts as a rule, far below the largest of their type, by which they are divided unless a `value_range`
says otherwise. IMOD (.st, .ali, .rec) marks files whose bytes are unsigned
(https://bio3d.colorado.edu/imod/doc/mrc_format.txt).
"""

from __future__ import annotations

import math
import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Literal

from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError, warn

__all__ = ["scan"]

_IMOD = b"IMOD"
_HEADER, _EXTENDED, _STAMP, _BIG = 1024, 92, 212, 0x11
"""Bytes of the header; in it the places of the extended header's length and of the machine stamp, whose first byte
tells the order."""
_SIGNED = 1
"""Of the flags that follow IMOD's stamp in the header."""


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the array of the file `path`; axes: as in `open_images`.

    Older headers, without the standard's identifier or machine stamp, are read with a warning. Raises UnveilError where
    `mrcfile` is not installed, and for no image or more than may be.
    """
    array, faults = _open(path)
    if faults:
        warn(  # of all files in the folder, which come from one program: the same line is shown once
            f"{path.parent}: MRC headers are not by the standard here ({'; '.join(faults)}); they are read as they "
            "are, so check that the images look right"
        )
    own = "NNHW"[-array.ndim :]  # four axes are a stack of volumes, two a micrograph or a stack of one
    if axes is None or axes.upper().replace("N", "") == own:
        axes = own
    stored = StoredArray(path, "", array.shape, array.dtype, axes, partial(_load, path))
    check_count(str(path), stored.images)
    check_size(f"an image of {path}", math.prod(stored.image_shape) * array.dtype.itemsize)
    return [stored]


def _load(path: Path) -> Any:
    return _open(path)[0]


def _open(path: Path) -> tuple[Any, list[str]]:
    """Return the memory map of the file, and what is wrong with its header, of what does not hinder reading it."""
    try:
        import mrcfile
    except ImportError:
        raise UnveilError(f"{path} needs the mrcfile package: pip install 'unveil[cryoem]'") from None

    _check_header(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with mrcfile.mmap(path, mode="r") as file:
                return _bytes(file), []  # the map outlives the file object
        except ValueError:
            with mrcfile.mmap(path, mode="r", permissive=True) as file:
                if file.data is None or file.data.size == 0:
                    raise  # what the standard's reader said
                array = _bytes(file)
    faults = [" ".join(str(warning.message).split()) for warning in caught]
    return array, [fault.split(" - ")[0] for fault in dict.fromkeys(faults)]


def _check_header(path: Path) -> None:
    """Raise UnveilError for an extended header longer than the file: `mrcfile` asks for its memory before it looks."""
    with open(path, "rb") as file:
        head, size = file.read(_HEADER), os.fstat(file.fileno()).st_size
    if len(head) < _HEADER:
        return  # what `mrcfile` says
    order: Literal["little", "big"] = "big" if head[_STAMP] == _BIG else "little"
    extended = int.from_bytes(head[_EXTENDED : _EXTENDED + 4], order, signed=True)
    if not 0 <= extended <= size - _HEADER:
        raise UnveilError(
            f"{path} cannot be read: its header declares {extended:,} bytes of extended header and the file has "
            f"{size:,}; it may be corrupt or truncated: restore it from its source or leave it out"
        )


def _bytes(file: Any) -> Any:
    """Return the data of an open file, with unsigned bytes where IMOD says so."""
    extra = file.header.extra2.tobytes()[40:48]
    if file.header.mode != 0 or _IMOD not in (extra[:4], extra[3::-1]):
        return file.data
    flags = int.from_bytes(extra[4:], "little" if extra[:4] == _IMOD else "big")
    return file.data if flags & _SIGNED else file.data.view("u1")
