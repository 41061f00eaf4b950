"""Zarr: an array or a group in a folder, read window by window; a touched chunk is decoded each time."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unveil.data import ome
from unveil.data.axes import default_axes
from unveil.data.choose import choose
from unveil.data.limits import check_count, check_size
from unveil.data.records import Records, number
from unveil.data.stored import StoredArray
from unveil.data.written import check_written
from unveil.data.zarr_check import check_array, chunk_shape, shape
from unveil.data.zarr_tree import Node, read_tree, stored_chunks
from unveil.errors import UnveilError

__all__ = ["is_zarr", "scan"]

_TYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
"""Of format 3; format 2 has those of NumPy."""


def is_zarr(path: Path) -> bool:
    """Return whether the folder `path` is a zarr array or group (by its name or by its metadata)."""
    names = ("zarr.json", ".zgroup", ".zarray")
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / n).is_file() for n in names))


def scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    """Return the array `dataset` of the group `path`, or its only one, or the array `path` itself.

    Of OME-Zarr the images at level 0.

    axes: as in `open_images`; by default those that OME-Zarr declares. Links are followed within the folder. Raises
    UnveilError for codecs that do more than decode numbers, and for an image of which nothing was written.
    """
    nodes, closed = read_tree(path)
    if not nodes:
        for reason in closed.values():
            raise UnveilError(reason)
        raise UnveilError(
            f"{path} cannot be read: no zarr.json, .zarray or .zgroup in it; check that it is the right folder"
        )
    return [_array(nodes[name], axes or ome.axes_of(name, nodes)) for name in _choose(path, dataset, nodes, closed)]


def _choose(path: Path, dataset: str | None, nodes: dict[str, Node], closed: dict[str, str]) -> list[str]:
    """Return the names of the arrays."""
    if "" in nodes and nodes[""].array is not None:
        if dataset is not None:
            raise UnveilError(f"{path} is one array, without a dataset {dataset!r}: leave dataset out")
        return [""]
    named = None if dataset is None else dataset.strip("/")
    if named in closed:
        raise UnveilError(closed[named])
    try:
        images = _images(nodes, named)
    except UnveilError:
        for reason in closed.values():  # why there is no such array
            raise UnveilError(reason) from None
        raise
    if images:
        return images
    found = {}
    for name, node in nodes.items():
        if node.array is not None:
            with suppress(UnveilError):
                found[name] = shape(node), number(_dtype(node))
            if named == name:
                return [name]  # whatever it is, opening it says so
    return [choose(path, dataset, found, closed)]


def _images(nodes: dict[str, Node], named: str | None) -> list[str]:
    """Return the arrays at level 0 of all images of OME-Zarr, labels left out.

    Of the group `named` alone, where one is named.
    """
    chosen = [node for node in nodes.values() if not ome.is_label(node)] if named is None else [nodes.get(named)]
    groups = [node for node in chosen if node is not None and node.array is None]
    return [level for node in groups if (level := ome.level_0(node, nodes)) is not None]


def _array(node: Node, axes: str | None) -> StoredArray:
    check_array(node, _dtype(node).itemsize)
    load = partial(_load, node.folder, node.format)
    opened = load()
    axes = axes or default_axes(opened.shape, opened.dtype, node.where)
    stored = StoredArray(node.root, node.name, opened.shape, opened.dtype, axes, load)
    check_count(node.where, stored.images)
    check_size(f"an image of {node.where}", math.prod(stored.image_shape) * stored.dtype.itemsize)
    check_written(node.where, shape(node), chunk_shape(node), stored.axes, stored_chunks(node))
    return stored


def _dtype(node: Node) -> np.dtype:
    """Return the type of the array's entries.

    Raises UnveilError where it is none of NumPy's.
    """
    declared = (node.array or {}).get("dtype" if node.format == 2 else "data_type")
    try:
        if node.format == 3 and declared in _TYPES:
            return np.dtype(declared)
        if node.format == 2 and isinstance(declared, str):
            return np.dtype(declared)
        if node.format == 2 and isinstance(declared, list):
            return np.dtype([(str(name), str(part)) for name, part in declared])
    except (TypeError, ValueError):
        pass
    raise UnveilError(f"{node.where} holds {declared!r:.80}, not numbers: store integers, floating point or complex")


def _load(folder: Path, version: Literal[2, 3]) -> Any:
    import zarr

    array = zarr.open_array(str(folder), mode="r", zarr_format=version)
    return Records(array) if number(array.dtype) != array.dtype else array
