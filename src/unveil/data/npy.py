"""NumPy's .npy: a memory map, so a window costs only its own pages of the file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.axes import default_axes
from unveil.data.stored import StoredArray

__all__ = ["scan"]


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """The array of the file `path`; axes: as in `open_images`."""
    array = _load(path)
    axes = axes or default_axes(array.shape, array.dtype, str(path))
    return [StoredArray(path, "", array.shape, array.dtype, axes, partial(_load, path))]


def _load(path: Path) -> Any:
    import numpy as np

    return np.load(path, mmap_mode="r", allow_pickle=False)
