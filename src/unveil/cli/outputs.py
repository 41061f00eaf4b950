"""Where commands write: never over what they read, and not over results unless asked to.

A folder of results holds `unveil-output.json`: the call that they are of, and the names of the files that it writes.
The same call goes on with what is missing; another one needs --force, and then removes the files of the earlier call
first, so that results of two calls never stand side by side.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from unveil.config import Config
from unveil.data import ImageSource, atomic_write
from unveil.data.atomic import remove
from unveil.data.stamp import stamp
from unveil.errors import UnveilError

__all__ = [
    "MANIFEST",
    "Results",
    "check_free",
    "config_files",
    "input_identity",
    "keep_inputs",
    "open_results",
    "read_manifest",
    "source_files",
]

MANIFEST = "unveil-output.json"
PARTS = ".unveil-parts"


class Results:
    """A folder that holds results of one call: each file is there, whole, or still to be written."""

    def __init__(self, folder: Path, call: Mapping[str, Any], names: Iterable[str], resumed: bool) -> None:
        self.folder = folder
        self.resumed = resumed
        self.call = call
        self.names = list(dict.fromkeys(names))

    def digest(self) -> str:
        """Return 16 hexadecimal digits that are others for another call."""
        return hashlib.sha256(json.dumps(self.call, sort_keys=True).encode()).hexdigest()[:16]

    def write_manifest(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"call": self.call, "files": self.names}, indent=1) + "\n"
        atomic_write(self.folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))

    def path(self, name: str) -> Path:
        """Return where the file `name` goes; its folder is made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, names: Iterable[str]) -> bool:
        """Return whether all of these are written."""
        return all((self.folder / name).exists() for name in names)

    def part(self, i: int) -> Path:
        """Return where the result of image i is kept until its file can be put together."""
        return self.folder / PARTS / f"{i}.npy"

    def announce(self, names: Iterable[str]) -> None:
        """Note that more files are about to be written."""
        self.names = list(dict.fromkeys([*self.names, *names]))
        self.write_manifest()

    def remove(self, names: Iterable[str]) -> None:
        """Take these away, where this call wrote them earlier."""
        known = set(self.names)
        clear(self.folder, [name for name in names if name in known])

    def end(self) -> None:
        """Remove what was kept on the way: nothing is left to do."""
        clear_parts(self.folder)


def open_results(
    folder: Path,
    call: Mapping[str, Any],
    names: Iterable[str],
    inputs: Iterable[Path],
    *,
    data: Path | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Results:
    """Return the folder for the results of a call, made and, if `force` says so, cleared of what an earlier one wrote.

    call: what the results depend on, as JSON: the command, its settings, the fingerprint of its input. names: of all
    files that it may write, relative to `folder`. inputs: the files that it reads, `data` the folder or file they were
    asked for by. dry_run: change nothing. Raises UnveilError where an input would be touched, or results without
    `force`.
    """
    names, call = list(names), json.loads(json.dumps(call))  # as it will be read again
    if folder.exists() and not folder.is_dir():
        raise UnveilError(f"{folder}: is a file; give a folder with --out")
    if (folder / "run.json").is_file():
        raise UnveilError(f"{folder}: is a run's folder; choose another --out")
    if data is not None and folder.is_dir() and data.is_dir() and folder.samefile(data):
        raise UnveilError(
            f"{folder}: is the folder of the input, and results would be taken for input; choose another --out"
        )
    earlier = read_manifest(folder)
    theirs = [] if earlier is None else earlier["files"]
    ours = [*names, MANIFEST]
    keep_inputs(inputs, (folder / name for name in [*ours, *theirs]))
    same = earlier is not None and earlier["call"] == call
    if not same or force:
        in_the_way = [name for name in dict.fromkeys([*theirs, *names, MANIFEST]) if os.path.lexists(folder / name)]
        if in_the_way and not force:
            what = (
                f"results of another call (unveil {earlier['call'].get('command', '')})" if earlier else in_the_way[0]
            )
            raise UnveilError(f"{folder}: holds {what}; pass --force to replace them, or another --out")
        if not dry_run:
            clear_parts(folder)
            clear(folder, in_the_way)
            theirs = []
    results = Results(folder, call, [*names, *theirs], same and not force)
    if not dry_run:
        sweep(folder, results.names)
        results.write_manifest()
    return results


def check_free(path: Path, force: bool) -> None:
    """Raise UnveilError when `path` exists and may not be overwritten."""
    if path.exists() and not force:
        raise UnveilError(f"{path}: exists; pass --force to overwrite it, or --out with another name")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what `open_results` wrote; None: nothing.

    Raises UnveilError if it is not that any more.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        call, names = manifest["call"], manifest["files"]
        parts = [PurePosixPath(name).parts for name in names]
        if isinstance(call, dict) and not any(not p or p[0] == "/" or ".." in p for p in parts):
            return {"call": call, "files": list(names)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UnveilError(f"{path}: is not what unveil writes there; choose another --out")


def clear(folder: Path, names: Iterable[str]) -> None:
    """Remove these files, the manifest last, and the folders that become empty; follow no link out of the folder."""
    root = folder.resolve()
    for name in names:
        path = folder / name
        if not path.parent.resolve().is_relative_to(root):
            raise UnveilError(f"{path}: lies in another place, by a link; remove it yourself, or choose another --out")
        if path.is_dir() and not path.is_symlink() and path.suffix != ".zarr":
            raise UnveilError(
                f"{path}: is a folder that unveil did not write; remove it yourself, or choose another --out"
            )
        with contextlib.suppress(FileNotFoundError):
            remove(path)
        for parent in path.relative_to(folder).parents[:-1]:
            with contextlib.suppress(OSError):  # not empty, or gone already
                (folder / parent).rmdir()


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed process left of files that it was writing: `.STEM.1a2b3c4d.SUFFIX` of one of `names`."""
    known = {*names, MANIFEST}
    parents = {str(PurePosixPath(name).parent) for name in known}
    for parent in parents:
        for path in (folder / parent).glob(".*"):
            begun = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}(\.[^.]+)?", path.name)
            if begun and str(PurePosixPath(parent) / (begun[1] + (begun[2] or ""))) in known:
                remove(path)


def clear_parts(folder: Path) -> None:
    """Remove what was kept on the way to results."""
    parts = folder / PARTS
    if parts.is_dir() and not parts.is_symlink():
        for path in parts.glob("*"):
            path.unlink()
        with contextlib.suppress(OSError):
            parts.rmdir()


def keep_inputs(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise UnveilError if one of `outputs` is a file of `inputs`, or lies inside one (a zarr).

    By whatever name or link.
    """
    read: dict[object, Path] = {}
    folders: list[tuple[Path, Path]] = []
    for path in inputs:
        read |= dict.fromkeys(identities(path), path)
        if path.is_dir():
            folders.append((path.resolve(), path))
    for path in outputs:
        touched = next((read[key] for key in identities(path) if key in read), None)
        if touched is None and folders:
            where = path.parent.resolve()
            touched = next((own for folder, own in folders if where.is_relative_to(folder)), None)
        if touched is None and path.is_dir():  # an earlier result that one of them lies in
            whole = path.resolve()
            touched = next((own for own in read.values() if own.resolve().is_relative_to(whole)), None)
        if touched is not None:
            raise UnveilError(f"{path}: would be written over the input {touched}; choose another --out")


def identities(path: Path) -> Iterator[object]:
    """Yield what two names of one file have in common: the place, but for case, that they lead to; the file itself."""
    yield os.path.join(path.parent.resolve(), path.name).casefold()
    yield str(path.resolve()).casefold()
    with contextlib.suppress(OSError):
        status = path.stat()
        yield status.st_dev, status.st_ino


def config_files(config: Config) -> list[Path]:
    """Return the files that a configuration names: of data, masks, tables, maps of noise and the like."""
    stated = [config.data.path, *config.operator.model_dump().values(), *config.noise.maps.values()]
    named = [value for value in stated if isinstance(value, str)]
    return [Path(value) for value in named if Path(value).is_file()]


def input_identity(source: ImageSource, inputs: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that change with the input.

    They change with the images' names and shapes, and when a file of `inputs` is another, or written to.
    """
    digest = hashlib.sha256(source.fingerprint().encode())
    for path in inputs:
        status = path.stat()
        known = stamp(path) if path.is_dir() else f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
        digest.update(f"{known}\n".encode())
    return digest.hexdigest()[:16]


def source_files(source: ImageSource, config: Config, *more: Path | None) -> list[Path]:
    """Return all files that the measurements and their configuration are read from."""
    return [*source.files(), *config_files(config), *(path for path in more if path is not None)]
