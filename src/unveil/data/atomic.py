"""Files that are either complete or not there: written under another name, then renamed into their place."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from unveil.errors import UnveilError

__all__ = ["atomic_write", "remove", "reserve", "sync"]


def atomic_write(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Call `write(temporary)` and put the file it wrote at `path`, in one step; on failure nothing changes.

    write: creates the file, or folder, whose path it is given: in the folder of `path`, hidden, with its extension. An
    earlier folder at `path` is moved away first: until the new one is in its place, there is none.
    Raises UnveilError, which names `path`, for an OSError (disk full, no permission, no such folder); any
    other exception passes. The temporary file is gone either way.
    """
    path = Path(path)
    temporary, old = (path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}") for _ in range(2))
    try:
        write(temporary)
        sync(temporary) if temporary.is_file() else _sync_tree(temporary)
        if path.is_dir() and temporary.is_dir() and not path.is_symlink():
            os.replace(path, old)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise UnveilError(
            f"{path} cannot be written ({reason}): make room, or choose a folder that exists and that you may write to"
        ) from error
    finally:
        for left in (temporary, old):
            with contextlib.suppress(OSError):
                remove(left)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove the file `path`, or the folder with all in it; of a link the link alone.

    Raises OSError where there is none, or it may not be removed.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def reserve(path: str | os.PathLike[str]) -> None:
    """Take the disk's space for all of the file `path`: where there is too little a map of it would end the process.

    Raises OSError where there is too little.
    """
    if not hasattr(os, "posix_fallocate") or not os.path.getsize(path):
        return
    with open(path, "rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # file systems without it
                raise


def _sync_tree(folder: Path) -> None:
    """Wait until all files of `folder` are on the disk: at once for all, where the system can."""
    if hasattr(os, "sync"):
        os.sync()
        return
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until the file `path`, or the entries of the folder `path`, are on the disk.

    What is renamed after that is whole even when the power fails.

    Raises OSError for a file; of a folder, whose entries some systems cannot be told to write, nothing.
    """
    folder = os.path.isdir(path)
    with contextlib.suppress(OSError) if folder else contextlib.nullcontext():
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
