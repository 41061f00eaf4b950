"""Memory maps of files that others may cut: a page that is no longer in the file ends the process, not in an error."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["check_mapped"]


def check_mapped(array: Any) -> None:
    """Raise EOFError if `array` is a memory map of which the file no longer holds everything.

    The system answers such a read with a bus error, which nothing can catch; so the file's size is looked up before.
    """
    mapped = getattr(array, "_mmap", None) if isinstance(array, np.memmap) else None
    if mapped is None:
        return
    start = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    if mapped.size() < start + len(mapped):
        raise EOFError(f"it was cut to {mapped.size()} bytes while it was in use")
