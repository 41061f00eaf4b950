"""Zarr: an array or a group in a folder, read window by window; a touched chunk is decoded each time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.axes import default_axes
from unveil.data.choose import choose
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["is_zarr", "scan"]


def is_zarr(path: Path) -> bool:
    """Whether the folder `path` is a zarr array or group (by its name or by its metadata)."""
    names = ("zarr.json", ".zgroup", ".zarray")
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / n).is_file() for n in names))


def scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    """The array `dataset` of the group `path`, or its only one, or the array `path` itself.

    axes: as in `open_images`.
    """
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        if dataset is not None:
            raise UnveilError(f"{path} is one array, without a dataset {dataset!r}: leave dataset out")
        found, name = {"": node}, ""
    else:
        found = {k: v for k, v in sorted(node.members(max_depth=None)) if isinstance(v, zarr.Array)}
        name = choose(path, dataset, {k: (v.shape, v.dtype) for k, v in found.items()})
    shape, dtype = tuple(found[name].shape), np.dtype(found[name].dtype)
    axes = axes or default_axes(shape, dtype, f"{path}:{name}" if name else str(path))
    return [StoredArray(path, name, shape, dtype, axes, partial(_load, path, name))]


def _load(path: Path, name: str) -> Any:
    import zarr

    return zarr.open_array(path, path=name, mode="r")
