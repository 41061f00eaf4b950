"""Files that are either complete or not there: written under another name, then renamed into their place."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from unveil.errors import UnveilError

__all__ = ["atomic_write"]


def atomic_write(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Calls `write(temporary)` and puts the file it wrote at `path`, in one step; on failure nothing changes.

    write: creates the file whose path it is given: in the folder of `path`, hidden, with its extension.
    Raises UnveilError, which names `path`, for an OSError (disk full, no permission, no such folder); any
    other exception passes. The temporary file is gone either way.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        raise UnveilError(
            f"{path} cannot be written ({reason}): make room, or choose a folder that exists and that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
