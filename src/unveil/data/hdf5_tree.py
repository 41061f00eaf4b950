"""The objects of an HDF5 file, and of the files beside it that it links to.

Master files of detectors hold links alone. They are followed here, one by one, never by the HDF5 library, which follows
them anywhere on the disk.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unveil.data.inside import inside
from unveil.errors import UnveilError

__all__ = ["Place", "Tree", "opened"]

_MOST = 100_000
"""Objects that are looked at to find the images."""
_HOPS = 32
"""Links that lead from one to the next; more are a circle."""


@dataclass(frozen=True)
class Place:
    """Where an object is: a file, and a name in it to which no link of HDF5 leads but hard ones."""

    file: Path
    name: str


def opened(file: Any, name: str | bytes) -> Any:
    """Return the object (group, dataset, type) of the open file that has this name.

    Raw storage of a dataset is looked for beside its file, wherever the process runs. HDF5 opens a dataset that is in
    use in the same way alone, and reads parts of virtual datasets that it cannot open as their fill value: so only
    datasets with raw storage are opened so, and all of this library comes by here.
    """
    import h5py

    key = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    found = None
    with suppress(KeyError):  # refused where it is in use with raw storage
        found = file[key]
    if found is not None and not (isinstance(found, h5py.Dataset) and found.external):
        return found
    del found
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_efile_prefix(b"${ORIGIN}")
    return h5py.Dataset(h5py.h5d.open(file.id, key, access))


class Tree:
    """The file `path` and those that it links to, open until the context ends.

    closed: after `datasets`, the links that were not followed: name -> why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = Place(path, "/")
        self.closed: dict[str, str] = {}
        self._folders = (path.parent.resolve(), path.resolve().parent)
        self._open: dict[Path, Any] = {}

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._open.values():
            file.close()

    def __getitem__(self, place: Place) -> Any:
        """Return the object (group, dataset, type) of h5py at `place`."""
        import h5py

        if place.file not in self._open:
            self._open[place.file] = h5py.File(place.file, "r")
        return opened(self._open[place.file], place.name)

    def beside(self, place: Place, name: str | bytes, what: str) -> Path:
        """Return the file `name` that something at `place` points to.

        what: points to it, for the message.
        It is looked for where the HDF5 library does: beside the file (or what that is a link to), and of an absolute
        name that is gone the last part as well, for data are moved. Raises UnveilError where it is not there, or not in
        the data's folder.
        """
        wanted = Path(os.fsdecode(name))
        parts = (wanted, Path(wanted.name)) if wanted.is_absolute() else (wanted,)
        places = [folder / part for part in parts for folder in (place.file.parent, place.file.resolve().parent)]
        where = f"{self.path}: {what}"
        for target in places:
            if _is_file(target):
                inside(where, target, *self._folders)
                return target
        inside(where, places[0], *self._folders)
        raise UnveilError(f"{where} points to {wanted}, which is not there: put that file beside {self.path.name}")

    def find(self, name: str, start: Place | None = None, hops: int = _HOPS) -> Place | None:
        """Return the object `name`, from the group at `start` (the root) on, links followed.

        None where there is nothing of that name.

        Raises UnveilError for a link that leads nowhere, out of the data's folder or in a circle.
        """
        at = self.root if start is None or name.startswith("/") else start
        if start is not None and name.startswith("/"):
            at = Place(start.file, "/")
        for part in (part for part in name.split("/") if part not in ("", ".")):
            group = self[at]
            if not hasattr(group, "keys") or not group.id.links.exists(part.encode("utf-8", "surrogateescape")):
                return None
            followed = self.follow(at, part, hops)
            if followed is None:
                raise UnveilError(f"{self.path}: the link {name} leads to nothing in its file: name another dataset")
            at = followed
        return at

    def follow(self, group: Place, name: str, hops: int = _HOPS) -> Place | None:
        """Return the object to which the link `name` of the group at `group` leads.

        None where there is nothing of that name.
        """
        import h5py

        opened = self[group]  # its links do not keep it open
        links, key = opened.id.links, name.encode("utf-8", "surrogateescape")
        kind = links.get_info(key).type
        if kind == h5py.h5l.TYPE_HARD:
            return Place(group.file, f"{group.name.rstrip('/')}/{name}")
        if hops == 0:
            raise UnveilError(f"{self.path}: the link {name} leads in a circle: name the dataset itself")
        if kind == h5py.h5l.TYPE_SOFT:
            return self.find(_text(links.get_val(key)), group, hops - 1)
        if kind != h5py.h5l.TYPE_EXTERNAL:
            raise UnveilError(f"{self.path}: {name} is a link of an unknown kind: copy what it leads to")
        file, target = links.get_val(key)
        start = Place(self.beside(group, file, f"the link {name}"), "/")
        return self.find(_text(target), start, hops - 1)

    def datasets(self) -> Iterator[tuple[str, Place]]:
        """Yield all datasets, each once: by the name that hard links give it, or else one that links give it."""
        import h5py

        seen: set[tuple[int, int]] = set()
        hard: deque[tuple[str, Place]] = deque([("", self.root)])
        links: deque[tuple[str, Place, str]] = deque()
        count = 0
        while hard or links:
            if hard:
                shown, place = hard.popleft()
            else:
                shown, group, name = links.popleft()
                try:
                    followed = self.follow(group, name)
                except (UnveilError, OSError) as error:
                    self.closed[shown] = str(error)
                    continue
                if followed is None:
                    continue
                place = followed
            found = self[place]
            info = h5py.h5o.get_info(found.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if isinstance(found, h5py.Dataset):
                yield shown, place
            elif isinstance(found, h5py.Group):
                for name in found:
                    count += 1
                    if count > _MOST:
                        raise UnveilError(
                            f"{self.path} holds more than {_MOST:,} objects: name the images, by --set "
                            "data.dataset=NAME"
                        )
                    if name.startswith("#"):  # MATLAB's own
                        continue
                    below = f"{shown}/{name}".lstrip("/")
                    kind = found.id.links.get_info(name.encode("utf-8", "surrogateescape")).type
                    if kind == h5py.h5l.TYPE_HARD:
                        hard.append((below, Place(place.file, f"{place.name.rstrip('/')}/{name}")))
                    else:
                        links.append((below, place, name))


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
