"""What a run's data are, by content: data.json tells which files have changed, gone or come since the run began.

All data are read once before the first step, so that a damaged file is found there and not in the middle of training.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from unveil.config import Config
from unveil.data import ImageSource, atomic_write
from unveil.data.stamp import stamp
from unveil.errors import UnveilError, plain, warn
from unveil.paths import path_keys
from unveil.records import read_record, sealed

__all__ = ["FILE", "Contents", "check_contents", "numbers_then", "open_contents", "read_contents", "write_contents"]

FILE = "data.json"
NAMED = 10
"""Files that a message names, at most."""
PIXELS = 2**24
"""That are read at once."""

Progress = Callable[[int, int], object]


class Part(BaseModel):
    """One file: its name in the data's folder, how many images it holds, their hash, and the file's stamp."""

    name: str
    images: int
    sha256: str
    stamp: str | None


class Contents(BaseModel):
    """The files of the images, in their order, and those that describe the imaging system."""

    parts: tuple[Part, ...]
    system: tuple[Part, ...] = ()

    @property
    def images(self) -> int:
        return sum(part.images for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the names and the content."""
        known = [(part.name, part.sha256) for part in (*self.parts, *self.system)]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def read_contents(source: ImageSource, config: Config, progress: Progress | None = None) -> Contents:
    """Read all images once.

    source: the images, as the run reads them. progress: (images read, all).

    Raises UnveilError, which names them, when some cannot be read.
    """
    parts = _read(_files(source, config), source, progress)
    return Contents(parts=tuple(parts.values()), system=_system(config))


def numbers_then(recorded: Contents, source: ImageSource, config: Config) -> list[int]:
    """Return the numbers that the images of `source` had when the run began, told by the names of their files.

    A warning names files that are gone: the run goes on without. Raises UnveilError, which names them, when others have
    come.
    """
    path, now = config.data.path, _files(source, config)
    first, start = {}, 0
    for part in recorded.parts:
        first[part.name], start = range(start, start + part.images), start + part.images
    come = [name for name in now if name not in first]
    if come:
        raise UnveilError(
            f"{path}: changed since the run began: {_list(come)} came; move them out of the folder, or start a new run"
        )
    gone = [name for name in first if name not in now]
    if gone:
        warn(
            f"{path}: {_list(gone)}, of {len(first)} files, gone since the run began: it goes on without, and ends "
            "elsewhere than it would have; put back what is gone for the run that was begun"
        )
    resized = [name for name, images in now.items() if len(images) != len(first[name])]
    if resized:
        raise _changed(config, resized)
    return [number for name in now for number in first[name]]


def check_contents(
    recorded: Contents, source: ImageSource, config: Config, progress: Progress | None = None
) -> Contents:
    """Return what is recorded, with the stamps of today, if the images of `source` are what they were.

    Those of other stamps are read. source, progress: as in `read_contents`. Raises UnveilError, which names the files,
    when some have changed, or cannot be read.
    """
    known = {part.name: part for part in recorded.parts}
    touched = {}
    for name, images in _files(source, config).items():
        file = source.file(images[0])
        seen = None if file is None else stamp(file)
        if seen is None or seen != known[name].stamp:
            touched[name] = images
    fresh = _read(touched, source, progress)
    changed = [name for name, part in fresh.items() if part.sha256 != known[name].sha256]
    if changed:
        held = {part.sha256: part.name for part in recorded.parts}
        other = held.get(fresh[changed[0]].sha256)
        raise _changed(config, changed, f" ({changed[0]} holds what {other} held)" if other else "")
    return Contents(parts=tuple((known | fresh).values()), system=_check_system(recorded, config))


def write_contents(folder: Path, contents: Contents) -> None:
    """Write folder/data.json."""
    text = json.dumps(sealed(contents.model_dump()), indent=1) + "\n"
    atomic_write(folder / FILE, lambda partial: partial.write_text(text, encoding="utf-8"))


def open_contents(folder: Path) -> Contents:
    """Return the contents in folder/data.json.

    Raises UnveilError when it is missing or damaged.
    """
    return read_record(folder / FILE, Contents, "restore it, or start a new run in another folder")


def _files(source: ImageSource, config: Config) -> dict[str, list[int]]:
    """Return the images of each file, by its name in the data's folder."""
    top = Path(config.data.path)
    files: dict[str, list[int]] = {}
    for i in range(len(source)):
        file = source.file(i)
        name = source.name(i) if file is None else file.name if file == top else os.path.relpath(file, top)
        files.setdefault(plain(name), []).append(i)
    return files


def _read(files: dict[str, list[int]], source: ImageSource, progress: Progress | None) -> dict[str, Part]:
    """Return the parts of `files`, all of them read."""
    parts: dict[str, Part] = {}
    failed: list[tuple[str, UnveilError]] = []
    done, total = 0, sum(map(len, files.values()))
    for name, images in files.items():
        try:
            parts[name] = _part(name, source, images)
        except UnveilError as error:
            failed.append((name, error))
        done += len(images)
        if progress is not None:
            progress(done, total)
    if failed:
        (_, first), *others = failed
        if not others:
            raise first
        raise UnveilError(f"{first}; {len(others)} more cannot be used either: {_list([name for name, _ in others])}")
    return parts


def _part(name: str, source: ImageSource, images: Sequence[int]) -> Part:
    file = source.file(images[0])
    seen = None if file is None else stamp(file)  # before it is read: a change under way is noticed later
    digest = hashlib.sha256()
    for i in images:
        channels, height, width = source.shape(i)
        digest.update(f"{channels} {height} {width}\n".encode())
        rows = max(1, PIXELS // (channels * width))
        for top in range(0, height, rows):
            x = source.read(i, (top, 0, min(rows, height - top), width))
            digest.update(np.ascontiguousarray(x.numpy()).data)
    return Part(name=name, images=len(images), sha256=digest.hexdigest(), stamp=seen)


def _system(config: Config) -> tuple[Part, ...]:
    """Return the files that describe the imaging system, by their keys."""
    parts = []
    kept = {("noise", name) for name in config.noise.maps}  # in the run folder, and known there
    for keys in sorted(path_keys(Config) - {("data", "path")} - kept):
        value: Any = config
        for key in keys:
            value = getattr(value, key, None)
        places = (value, value.rpartition(":")[0]) if isinstance(value, str) else ()  # FILE, or FILE:DATASET
        path = next((Path(place) for place in places if place and Path(place).is_file()), None)
        if path is not None:
            parts.append(Part(name=".".join(keys), images=0, sha256=_hash(path), stamp=stamp(path)))
    return tuple(parts)


def _check_system(recorded: Contents, config: Config) -> tuple[Part, ...]:
    now = _system(config)
    hashes = {part.name: part.sha256 for part in now}
    for part in recorded.system:
        if hashes.get(part.name) != part.sha256:
            raise UnveilError(
                f"{part.name}: the content of its file changed since the run began; restore it, or start a new run"
            )
    return now


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _changed(config: Config, names: Sequence[str], more: str = "") -> UnveilError:
    return UnveilError(
        f"{config.data.path}: changed since the run began: the content of {_list(names)}{more}; restore it, or start a "
        "new run"
    )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
