"""Ctrl-C as a request: the step under way is finished and saved, then the run stops."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from unveil.errors import UnveilError

__all__ = ["Interrupted", "Stop", "stop_on_interrupt"]


class Interrupted(UnveilError):
    """Raised after an interrupted piece of work has been saved; its text says how to go on."""


class Stop:
    """Whether Ctrl-C has been pressed."""

    requested = False


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Within the block the first Ctrl-C sets `requested`; a second one interrupts at once."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = signal.signal(signal.SIGINT, request)
    except ValueError:  # not the main thread, where Python delivers no signals
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
