"""The arrays and groups in a zarr folder, from its metadata alone, which may come from anywhere.

Read here before zarr itself opens anything: a codec that the metadata name may run code (numcodecs' pickle), and links
may lead anywhere on the disk.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unveil.data.inside import inside
from unveil.errors import UnveilError

__all__ = ["Node", "natural", "read_tree", "stored_chunks"]

_MOST = 100_000
"""Arrays and groups."""
_MOST_BYTES = 2**26
"""Of one file of metadata."""
_METADATA = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Node:
    """An array, or a group where `array` is None.

    root: the zarr folder. name: within it, "" itself. format: of zarr, 2 or 3. array: what its metadata say.
    attributes: the user's.
    """

    root: Path
    name: str
    format: Literal[2, 3]
    array: dict[str, Any] | None
    attributes: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def where(self) -> str:
        return f"{self.root}:{self.name}" if self.name else str(self.root)


def read_tree(root: Path) -> tuple[dict[str, Node], dict[str, str]]:
    """Return the arrays and groups of the zarr folder `root` by name, in natural order, and what was not looked into.

    The latter as name -> why.
    """
    real = root.resolve()
    nodes: dict[str, Node] = {}
    closed: dict[str, str] = {}
    seen: set[Path] = set()
    waiting = [""]
    while waiting:
        name = waiting.pop()
        folder = root / name
        try:
            place = inside(f"{root}: {name or 'the folder'}", folder, real)
            node = None if place in seen else _read_node(root, name, real)
        except UnveilError as error:
            closed[name] = str(error)
            continue
        if place in seen:  # links in a circle
            continue
        seen.add(place)
        if node is not None:
            nodes[name] = node
        if len(seen) > _MOST:
            raise UnveilError(
                f"{root} holds more than {_MOST:,} folders that are no array: give the folder of one image"
            )
        if node is None or node.array is None:
            waiting += [f"{name}/{entry}".lstrip("/") for entry in _folders(folder)]
    return {name: nodes[name] for name in sorted(nodes, key=natural)}, closed


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key to sort by in which numbers compare as numbers: 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", name)]


def stored_chunks(node: Node) -> Iterator[tuple[int, ...]]:
    """Yield the place of each chunk of an array that is stored, along each axis.

    Raises UnveilError for a chunk that is a link out of the zarr folder.
    """
    rank = len(node.array["shape"]) if node.array else 0
    name = re.compile(r"(?:c[./])?(\d+(?:[./]\d+)*)")
    for key in _files(node.folder, "", node.root.resolve(), rank + 1, node.where):
        if (match := name.fullmatch(key)) and len(place := re.split("[./]", match[1])) == rank:
            yield tuple(map(int, place))


def _files(folder: Path, key: str, real: Path, depth: int, where: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            below = f"{key}/{entry.name}".lstrip("/")
            if entry.is_symlink():
                inside(f"{where}: {below}", Path(entry.path), real)
            if entry.is_dir():
                if depth and (entry.name == "c" or entry.name.isdecimal()):
                    yield from _files(Path(entry.path), below, real, depth - 1, where)
            elif entry.is_file():
                yield below


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if _is_folder(entry) and not entry.name.startswith(".")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _read_node(root: Path, name: str, real: Path) -> Node | None:
    folder = root / name
    file = next((file for file in _METADATA if (folder / file).is_file()), None)
    if file is None:
        return None
    values = _read_json(folder / file, real)
    if file == "zarr.json":
        if values.get("zarr_format") != 3 or values.get("node_type") not in ("array", "group"):
            raise UnveilError(f"{folder / file} is no zarr metadata (zarr_format, node_type): write the array again")
        array = values if values["node_type"] == "array" else None
        attributes = values.get("attributes", {})
    else:
        array = values if file == ".zarray" else None
        attributes = _read_json(folder / ".zattrs", real) if (folder / ".zattrs").is_file() else {}
    return Node(root, name, 3 if file == "zarr.json" else 2, array, attributes if isinstance(attributes, dict) else {})


def _read_json(path: Path, real: Path) -> dict[str, Any]:
    """Return the mapping in a file of metadata.

    Raises UnveilError where it is none, damaged, too large, or outside.
    """
    inside(str(path), path, real)
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UnveilError(f"{path} has {size:,} bytes of metadata, more than {_MOST_BYTES:,}: write the array again")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:100]
        raise UnveilError(f"{path} cannot be read as JSON ({reason}): copy or write the array again") from None
    if not isinstance(values, dict):
        raise UnveilError(f"{path} cannot be read: it holds no keys and values; copy or write the array again")
    return values
