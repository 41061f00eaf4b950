"""Whether a file may have changed since it was last looked at, told without reading it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from unveil.data.hdf5_tree import opened

__all__ = ["stamp"]

_HDF5 = b"\x89HDF\r\n\x1a\n"


def stamp(path: Path) -> str | None:
    """Return what differs once the file or folder `path` has been written, replaced or moved.

    None where that cannot be told.

    It differs too for a copy of the same content: it says what need not be read again, never that content has changed.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for parent, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                file = os.path.join(parent, name)
                digest.update(f"{os.fsencode(os.path.relpath(file, path))!r} {_stat(file)}\n".encode())
        return digest.hexdigest()
    return _stat(path) if _stands_alone(path) else None


def _stat(path: str | os.PathLike[str]) -> str:
    """Return what differs once the file has been written, replaced or moved.

    The time of the last change of its state (ctime) cannot be set back, as that of its content can.
    """
    s = os.stat(path)
    return f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"


def _stands_alone(path: Path) -> bool:
    """Return whether all data of the file are in it: HDF5 may link to others."""
    with path.open("rb") as file:
        if file.read(len(_HDF5)) != _HDF5:
            return True
    import h5py

    found: list[object] = []

    def link(name: bytes, info: Any) -> None:
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            found.append(name)

    def item(name: bytes) -> None:
        item = opened(file, name)
        if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            found.append(name)

    with h5py.File(path, "r") as file:
        file.id.links.visit(link, info=True)
        h5py.h5o.visit(file.id, item)
    return not found
