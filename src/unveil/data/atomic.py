"""Files that are either complete or not there: written under another name, then renamed into their place."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from unveil.errors import UnveilError

__all__ = ["atomic_write", "reserve", "sync"]


def atomic_write(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Call `write(temporary)` and put the file it wrote at `path`, in one step; on failure nothing changes.

    write: creates the file whose path it is given: in the folder of `path`, hidden, with its extension.
    Raises UnveilError, which names `path`, for an OSError (disk full, no permission, no such folder); any
    other exception passes. The temporary file is gone either way.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise UnveilError(
            f"{path} cannot be written ({reason}): make room, or choose a folder that exists and that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until the file or folder `path` is on the disk.

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
