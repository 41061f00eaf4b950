"""HDF5: a dataset is read window by window; HDF5's own small cache of chunks is the only one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.axes import default_axes
from unveil.data.choose import choose
from unveil.data.stored import StoredArray

__all__ = ["scan"]


def scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    """The dataset `dataset` of the file `path`, or its only one; axes: as in `open_images`."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = (tuple(item.shape), item.dtype)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    name = choose(path, dataset, found)
    shape, dtype = found[name]
    axes = axes or default_axes(shape, dtype, f"{path}:{name}")
    return [StoredArray(path, name, shape, dtype, axes, partial(_load, path, name))]


def _load(path: Path, name: str) -> Any:
    import h5py

    return h5py.File(path, "r")[name]  # HDF5 keeps the file open for as long as the dataset is in use
