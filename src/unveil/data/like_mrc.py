"""An MRC for results, with the header of the file that it is to be like: voxel size, origin, kind, labels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.atomic import reserve
from unveil.data.made import Made
from unveil.data.source import Origin

__all__ = ["EXTENSIONS", "create"]

EXTENSIONS = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali")

_KEPT = (
    "nxstart",
    "nystart",
    "nzstart",
    "mx",
    "my",
    "mz",
    "cella",
    "cellb",
    "mapc",
    "mapr",
    "maps",
    "ispg",
    "origin",
    "nlabl",
    "label",
)
"""The fields of the header that say what the voxels are; the others describe their values and the layout of the
file."""


@contextmanager
def create(path: Path, pattern: Origin, dtype: np.dtype, made: Made) -> Iterator[tuple[Any, str]]:
    """Make a new file like `pattern`, and its axes as letters of N, H, W; a map of the file, to be filled.

    It has one more label, which says what made it, where there is room.
    """
    import mrcfile
    from mrcfile.utils import mode_from_dtype

    with warnings.catch_warnings():  # of an old header, which was read all the same
        warnings.simplefilter("ignore")
        with mrcfile.open(pattern.path, permissive=True, header_only=True) as old:
            header, extended = old.header.copy(), np.array(old.extended_header)
    with mrcfile.new_mmap(path, pattern.shape, mode_from_dtype(dtype), overwrite=True) as new:
        kind = bytes(header.exttyp)
        if extended.nbytes:
            new.set_extended_header(extended)
            new.header.exttyp = kind
        reserve(path)
        for key in _KEPT:
            new.header[key] = header[key]
        if (count := int(header.nlabl)) < len(header.label):
            new.header.label[count] = str(made).encode("ascii", "replace")[:80]
            new.header.nlabl = count + 1
        yield new.data, pattern.axes
        new.update_header_stats()
