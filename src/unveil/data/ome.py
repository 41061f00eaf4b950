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

__all__ = ["axes_of", "is_label", "level_0"]

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
            f"data.dataset=NAME"
        )
    return paths[0]


def axes_of(array: str, nodes: Mapping[str, Node]) -> str | None:
    """Return one letter of N, C, H, W for each axis of `array`, by name, as the image that it is a level of says.

    None where none says it, or what it says does not fit.
    """
    parts = array.split("/")
    shape = (nodes[array].array or {}).get("shape")
    rank = len(shape) if isinstance(shape, list) else 0
    for k in range(len(parts)):
        group = nodes.get("/".join(parts[:k]))
        scales = None if group is None or group.array is not None else _multiscales(group)
        if group is None or scales is None or array not in _paths(group, scales):
            continue
        axes = scales.get("axes", _OLD_AXES)
        letters = "".join(map(_letter, axes)) if isinstance(axes, list) else ""
        return letters if len(letters) == rank and letters.count("H") == letters.count("W") == 1 else None
    return None


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
    levels = scales.get("datasets")
    if not isinstance(levels, list):
        return []
    paths = [level.get("path") if isinstance(level, dict) else None for level in levels]
    return [f"{group.name}/{path.strip('/')}".strip("/") for path in paths if isinstance(path, str)]


def _letter(axis: Any) -> str:
    name = axis.get("name") if isinstance(axis, dict) else axis
    kind = axis.get("type") if isinstance(axis, dict) else None
    letters = {"c": "C", "y": "H", "x": "W"}
    return "C" if kind == "channel" else letters.get(name, "N") if isinstance(name, str) else "N"
