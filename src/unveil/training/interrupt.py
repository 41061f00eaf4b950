"""Ctrl-C and the signals by which a job is ended, as a request.

The step under way is finished and saved, then the run stops.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from unveil.errors import UnveilError

__all__ = ["Interrupted", "Stop", "stop_on_interrupt"]

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C; a cluster's preemption, time limit or cancellation; the end of the terminal."""


class Interrupted(UnveilError):
    """Raised after an interrupted piece of work has been saved; its text says how to go on.

    signum: of the signal that asked for it; the command line exits with 128 + signum.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message, code=128 + signum)
        self.signum = int(signum)


class Stop:
    """Whether a signal has asked for the end, and which: None before."""

    signum: int | None = None

    @property
    def requested(self) -> bool:
        return self.signum is not None

    def interrupted(self, message: str) -> Interrupted:
        """Return the exception to raise once what is under way has been saved, as `message` says."""
        return Interrupted(message, signal.SIGINT if self.signum is None else self.signum)


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Enter a block in which the first SIGINT, SIGTERM or SIGHUP sets `requested`.

    A second Ctrl-C acts as outside: at once. A second SIGTERM or SIGHUP, or a signal of another kind, does not: a
    cluster signals the launcher of several processes and the processes, and the launcher passes on what it gets. Where
    SIGTERM or SIGHUP is ignored (nohup) it stays ignored.
    """
    stop = Stop()
    previous: dict[int, Any] = {}

    def request(number: int, frame: FrameType | None) -> None:
        stop.signum = number if stop.signum is None else stop.signum
        if number == signal.SIGINT:
            signal.signal(number, previous[number])

    try:
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not None and (number == signal.SIGINT or before is not signal.SIG_IGN):
                previous[number] = before  # first: the signal may come as soon as it is handled
                signal.signal(number, request)
    except ValueError:  # not the main thread, where Python delivers no signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
