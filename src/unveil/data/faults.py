"""Why a file cannot be read, and what helps: the one place that turns what libraries raise into a line for the user.

Most of what they raise says nothing about the file: a missing permission, a lock, a package that is not installed.
Damage is spoken of only when a decoder failed on bytes that it was given.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from unveil.errors import UnveilError

__all__ = ["unreadable"]

_ADVICE = {
    errno.EACCES: "it may not be read: check its permissions",
    errno.EPERM: "it may not be read: check its permissions",
    errno.ENOENT: "it is not there: put it back, or start again without it",
    errno.ENOTDIR: "it is not there: put it back, or start again without it",
    errno.ELOOP: "it is a link that leads to itself: make the link again",
    errno.EMFILE: "too many files are open: allow more, e.g. with ulimit -n 4096",
    errno.ENFILE: "too many files are open on this machine: close other programs",
    errno.EAGAIN: "another program has it open for writing: close it there, then try again",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.ENOMEM: "there is not enough memory: close other programs, or use a machine with more",
}
_DRIVE = "check the drive or the network that it lies on, then try again"
_LOCKED = re.compile(r"unable to lock file|being used by another process", re.I)
_NEEDS = re.compile(r"requires the '([\w-]+)' package")


def unreadable(where: str, error: BaseException) -> UnveilError:
    """Return the one line that says why what lies at `where` cannot be read, after `error`, and what to do."""
    reason = " ".join(str(error).split())[:160] or "no reason given"
    for cause in _causes(error):
        if isinstance(cause, MemoryError):
            return UnveilError(f"{where} cannot be read ({reason}): {_ADVICE[errno.ENOMEM]}")
        if isinstance(cause, ImportError) and cause.name:
            return _missing(where, cause.name.partition(".")[0])
        if needs := _NEEDS.search(str(cause)):
            return _missing(where, needs[1])
        if _LOCKED.search(str(cause)):
            return UnveilError(f"{where} cannot be read (it is locked): {_ADVICE[errno.EAGAIN]}")
        if isinstance(cause, OSError) and cause.errno is not None:
            advice = _ADVICE.get(cause.errno, _DRIVE)
            return UnveilError(f"{where} cannot be read ({cause.strerror or reason}): {advice}")
    return UnveilError(
        f"{where} cannot be read ({type(error).__name__}: {reason}): it may be corrupt or truncated; restore it from "
        "its source or leave it out"
    )


def _missing(where: str, package: str) -> UnveilError:
    return UnveilError(f"{where} cannot be read (the package {package} is missing): pip install {package}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error, and those that it was raised from: libraries wrap what the system said."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__
