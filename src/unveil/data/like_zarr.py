"""A zarr for results, with the groups, metadata and chunks of the one that it is to be like; OME-Zarr its pyramids.

Nothing of the metadata is composed here: version, axes, scales, units, channels, plates are those of the measurements,
whose grid the results have. A level holds the means of the pixels of the one before that it covers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from unveil.data import ome
from unveil.data.atomic import reserve
from unveil.data.like_zarr_levels import factors, fill
from unveil.data.placed import place
from unveil.data.source import Origin
from unveil.data.zarr_check import check_array
from unveil.data.zarr_tree import Node, read_tree
from unveil.errors import UnveilError

__all__ = ["SUFFIX", "write"]

SUFFIX = ".zarr"


def write(path: Path, parts: Sequence[Origin], images: Iterable[np.ndarray], dtype: np.dtype) -> None:
    """Write `images`, (C, H, W) each, to the folder `path`, in arrays like `parts`, all of one zarr folder, in order.

    All images of an OME-Zarr give all of its groups; one of several, the group of that image; labels are left out.
    Raises UnveilError for images of another shape than their measurements.
    """
    nodes, _ = read_tree(parts[0].path)
    top = _top([part.inside for part in parts], nodes)
    images = iter(images)
    for name in _groups(parts, nodes, top):
        _create_group(path / _below(name, top), nodes[name], _kept(nodes[name], parts, nodes))
    for part in parts:
        with NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent) as file:
            whole = np.memmap(file, dtype, "w+", shape=part.shape)
            reserve(file.name)
            for k in range(part.images):
                place(whole, part.axes, k, _checked(next(images), part))
            before: Any = whole
            for name, steps in _levels(part, nodes):
                after = _create_array(path / _below(name, top), nodes[name], dtype)
                fill(after, before, steps)
                before = after


def _top(insides: Sequence[str], nodes: Mapping[str, Node]) -> str:
    """Return the group that is to be the root."""
    group = ome.image_of(insides[0], nodes)
    whole = {ome.level_0(node, nodes) for node in nodes.values() if node.array is None and not ome.is_label(node)}
    return "" if group is None or whole - {None} <= set(insides) else group.name


def _groups(parts: Sequence[Origin], nodes: Mapping[str, Node], top: str) -> list[str]:
    """Return the groups that the arrays lie in, outermost first."""
    names = {""} | {"/".join(part.inside.split("/")[:k]) for part in parts for k in range(part.inside.count("/") + 1)}
    inner = [name for name in names if name == top or not top or name.startswith(f"{top}/")]
    return sorted(name for name in inner if name in nodes and nodes[name].array is None)


def _below(name: str, top: str) -> str:
    return name.removeprefix(top).lstrip("/")


def _levels(part: Origin, nodes: Mapping[str, Node]) -> list[tuple[str, Sequence[float]]]:
    """Return (array, pixels of the level before along each axis in one of it) from the array of `part` on."""
    group = ome.image_of(part.inside, nodes)
    shape = part.shape
    levels: list[tuple[str, Sequence[float]]] = [(part.inside, [1.0] * len(shape))]
    if group is None:
        return levels
    known = ome.levels(group, nodes)
    start = [name for name, _ in known].index(part.inside)
    for (_, before), (name, said) in zip(known[start:], known[start + 1 :]):
        smaller = tuple((nodes[name].array or {})["shape"])
        levels.append((name, factors(shape, smaller, before, said)))
        shape = smaller
    return levels


def _kept(group: Node, parts: Sequence[Origin], nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Return the attributes of a group, of an image's levels those that are written."""
    attributes = copy.deepcopy(group.attributes)
    said = attributes.get("ome", attributes)
    for part in parts:
        if ome.image_of(part.inside, nodes) == group:
            known = ome.levels(group, nodes)
            start = [name for name, _ in known].index(part.inside)
            said["multiscales"] = [said["multiscales"][0] | {"datasets": [level for _, level in known[start:]]}]
    return attributes


def _checked(x: np.ndarray, part: Origin) -> np.ndarray:
    if x.shape != part.image_shape:
        raise UnveilError(
            f"{part.path}: its results have the shape {x.shape} and its images {part.image_shape}, so that they are no "
            "zarr like it: save the measurements as TIFF"
        )
    return x


def _create_group(path: Path, node: Node, attributes: dict[str, Any]) -> None:
    import zarr

    zarr.create_group(str(path), zarr_format=node.format, attributes=attributes, overwrite=True)


def _create_array(path: Path, node: Node, dtype: np.dtype) -> Any:
    """Make an array of the shape, chunks, compression and names of axes of `node`, of another type."""
    import zarr

    check_array(node, dtype.itemsize)
    like: Any = zarr.open_array(str(node.folder), mode="r", zarr_format=node.format)
    names: dict[str, Any]
    if node.format == 3:
        names = {
            "dimension_names": like.metadata.dimension_names,
            "chunk_key_encoding": like.metadata.chunk_key_encoding,
        }
    else:
        names = {"chunk_key_encoding": {"name": "v2", "separator": like.metadata.dimension_separator}}
    return zarr.create_array(
        str(path),
        shape=like.shape,
        dtype=dtype,
        chunks=like.chunks,
        shards=like.shards,
        compressors=like.compressors,
        zarr_format=node.format,
        attributes=node.attributes,
        config={"write_empty_chunks": True},  # a chunk that is not there is one that nobody measured
        **names,
    )
