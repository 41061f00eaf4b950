"""OME-Zarr (NGFF 0.1 to 0.5): which arrays of a group are images, and which of their axes is which.

An image is a group with `multiscales`, the same pixels at several resolutions, of which level 0 is as measured. A plate
is a group of such groups, as is what bioformats2raw writes. Groups below `labels` are somebody's segmentation.
(https://ngff.openmicroscopy.org/0.5/)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unveil.data.zarr_tree import Node
from unveil.errors import UnveilError

__all__ = ["axes_of", "image_of", "is_label", "level_0", "levels"]

_OLD_AXES = ["t", "c", "z", "y", "x"]
"""Of versions 0.1 and 0.2, which name none."""


def level_0(group: Node, nodes: Mapping[str, Node]) -> str | None:
    """Return the name of the array of full resolution of the image in `group`; None where the group is no image.

    Raises UnveilError for metadata that do not lead to an array.
    """
    scales = _multiscales(group)
    if scales is None:
        return None
    paths = _paths(group, scales)
    if not paths or paths[0] not in nodes or nodes[paths[0]].array is None:
        which = f" {paths[0]!r:.80}" if paths else ""
        raise UnveilError(
            f"{group.where}: its OME metadata lead to no array{which} at level 0: name the array, by --set "
            "data.dataset=NAME"
        )
    return paths[0]


def axes_of(array: str, nodes: Mapping[str, Node]) -> str | None:
    """Return one letter of N, C, H, W for each axis of `array`, by name, as the image that it is a level of says.

    None where none says it, or what it says does not fit.
    """
    shape = (nodes[array].array or {}).get("shape")
    rank = len(shape) if isinstance(shape, list) else 0
    group = image_of(array, nodes)
    scales = None if group is None else _multiscales(group)
    if scales is None:
        return None
    axes = scales.get("axes", _OLD_AXES)
    letters = "".join(map(_letter, axes)) if isinstance(axes, list) else ""
    return letters if len(letters) == rank and letters.count("H") == letters.count("W") == 1 else None


def image_of(array: str, nodes: Mapping[str, Node]) -> Node | None:
    """Return the group of the image that `array` is a level of; None where it is of none."""
    parts = array.split("/")
    for k in range(len(parts)):
        group = nodes.get("/".join(parts[:k]))
        scales = None if group is None or group.array is not None else _multiscales(group)
        if group is not None and scales is not None and array in _paths(group, scales):
            return group
    return None


def levels(group: Node, nodes: Mapping[str, Node]) -> list[tuple[str, dict[str, Any]]]:
    """Return (array, what `datasets` says of it) for each level of the image in `group` that has an array."""
    scales = _multiscales(group) or {}
    found = zip(_paths(group, scales), _datasets(scales))
    return [(name, said) for name, said in found if name in nodes and nodes[name].array is not None]


def is_label(node: Node) -> bool:
    """Return whether the array or group is a segmentation, not an image."""
    ome = node.attributes.get("ome")
    return (
        "labels" in node.name.split("/")
        or "image-label" in node.attributes
        or (isinstance(ome, dict) and "image-label" in ome)
    )


def _multiscales(group: Node) -> dict[str, Any] | None:
    """Return the first of the group's multiscales; None where it has none, or they are no metadata."""
    ome = group.attributes.get("ome", group.attributes)  # 0.5 has a key of its own
    scales = ome.get("multiscales") if isinstance(ome, dict) else None
    if scales is None:
        return None
    first = scales[0] if isinstance(scales, list) and scales else None
    return first if isinstance(first, dict) else {}


def _paths(group: Node, scales: dict[str, Any]) -> list[str]:
    """Return the names of the arrays of all levels, full resolution first."""
    return [f"{group.name}/{said['path'].strip('/')}".strip("/") for said in _datasets(scales)]


def _datasets(scales: dict[str, Any]) -> list[dict[str, Any]]:
    levels = scales.get("datasets")
    if not isinstance(levels, list):
        return []
    return [level for level in levels if isinstance(level, dict) and isinstance(level.get("path"), str)]


def _letter(axis: Any) -> str:
    name = axis.get("name") if isinstance(axis, dict) else axis
    kind = axis.get("type") if isinstance(axis, dict) else None
    letters = {"c": "C", "y": "H", "x": "W"}
    return "C" if kind == "channel" else letters.get(name, "N") if isinstance(name, str) else "N"
