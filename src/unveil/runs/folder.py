"""A run folder while it is written: by one process at a time, within the folder only, without what a kill left over."""

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unveil.errors import UnveilError, warn
from unveil.training.ranks import is_first

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["writing"]

LOCK = ".lock"

LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{8}(\.[^.]+)?|.+\.partial")
"""Names under which files and checkpoints are written before they are renamed, and zarr's chunks."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Enter a block that may write into the run folder `folder`, which exists.

    Temporary files of killed processes are removed first. Of several processes of one training the first does this for
    all.
    Raises UnveilError when another process is in such a block, which ends with it, or something in the folder is a
    link.
    """
    if not is_first():
        yield
        return
    with _locked(folder):
        for path in list(_walk(folder)):
            if path.is_symlink():
                raise UnveilError(
                    f"{path} is a link: a run is written within its own folder only; put there what it points to"
                )
        for path in list(_walk(folder)):
            if LEFT_OVER.fullmatch(path.name):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        path.unlink()
        yield


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all that is in `folder`, at any depth, links not followed."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent) / name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Enter a block in which no other process is.

    By the system's lock on folder/.lock, which ends when its process does.
    """
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise UnveilError(f"{path}: cannot be written ({error.strerror}); check its permissions") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UnveilError(f"{folder}: {_holder(path)} writes there; wait until it ends, or stop it") from None
            warn(
                f"{folder}: its file system has no locks ({error.strerror}); let no other command write there meanwhile"
            )
        with suppress(OSError):  # a full disk: the lock holds without
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    """Return the process that the lock file names."""
    with suppress(OSError, ValueError):
        pid, host = path.read_text().split()
        return f"process {int(pid)}" + ("" if host == socket.gethostname() else f" on {host}")
    return "another process"
