"""A NIfTI file for results, with the header of the file that it is to be like: affine, pixdim, units, extensions."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.nifti import open_image
from unveil.data.source import Origin

__all__ = ["create"]


@contextmanager
def create(path: Path, pattern: Origin, dtype: np.dtype) -> Iterator[tuple[Any, str]]:
    """Make an array like `pattern`, to be filled, and its axes; what it then holds goes to `path`.

    Integers are stored numbers, of the pattern's slope and intercept. Compressed where the pattern is, and the same to
    the bit each time.
    """
    old = open_image(pattern.path)
    x = np.zeros(pattern.shape, dtype, order="F")
    yield x, pattern.axes
    header = old.header.copy()
    header.set_data_dtype(dtype)
    new = type(old)(x, None, header)
    scale = pattern.scale if dtype.kind in "iu" else None
    new.header.set_slope_inter(*(scale or (1.0, 0.0)))  # stated, and not applied to x
    with open(path, "wb") as file:
        if pattern.path.suffix.lower() == ".gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                new.to_stream(packed)
        else:
            new.to_stream(file)
