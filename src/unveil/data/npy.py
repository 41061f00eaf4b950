"""NumPy's .npy: a memory map, so a window costs only its own pages of the file."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.axes import default_axes
from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["load", "scan"]


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the array of the file `path`; axes: as in `open_images`.

    Raises UnveilError for a header that is not true of the file.
    """
    array = load(path)
    axes = axes or default_axes(array.shape, array.dtype, str(path))
    stored = StoredArray(path, "", array.shape, array.dtype, axes, partial(load, path))
    check_count(str(path), stored.images)
    check_size(f"an image of {path}", math.prod(stored.image_shape) * array.dtype.itemsize)
    return [stored]


def load(path: Path) -> Any:
    """Return the array of the file `path`, mapped.

    Raises UnveilError for a header that is not true of the file, and for objects.
    """
    import numpy as np

    with open(path, "rb") as file:
        start = file.read(2)
        if start == b"PK":
            raise UnveilError(f"{path} is an archive of arrays, as .npz, not numbers: save one array with numpy.save")
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            declared, held = math.prod(shape) * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError, SyntaxError) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise UnveilError(
                f"{path} cannot be read (its header is no NumPy array's: {reason}): save it again with numpy.save"
            ) from None
    if dtype.hasobject:
        raise UnveilError(
            f"{path} cannot be read (it holds Python objects, which could run code): save numbers, numpy.save(path, "
            "array.astype('float32'))"
        )
    if declared > held:
        raise UnveilError(
            f"{path} cannot be read (its header declares {min(declared, 10**18):,} bytes of numbers and the file holds "
            f"{held:,}): it was cut or is still being written; copy or save it again"
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)
