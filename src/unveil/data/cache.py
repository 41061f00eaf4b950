"""What a source keeps between two reads: open files and decoded images; the least used goes first."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

__all__ = ["Cache"]


class Cache:
    """At most `max_items` decoded arrays that fill at most `max_bytes` bytes, and `max_open` open files.

    A memory map counts as an open file. An array larger than `max_bytes` is returned but not kept.
    The content belongs to one process: a fork or an unpickled copy starts empty, because open HDF5 files must
    not be shared between processes.
    """

    def __init__(self, max_bytes: int = 512 * 2**20, max_items: int = 4096, max_open: int = 64) -> None:
        self.max_bytes, self.max_items, self.max_open = max_bytes, max_items, max_open
        self._decoded: dict[Hashable, np.ndarray] = {}  # dicts keep insertion order: the oldest use comes first
        self._open: dict[Hashable, Any] = {}
        self._pid = os.getpid()

    def get(self, key: Hashable, load: Callable[[], Any]) -> Any:
        """Return the value under `key` (never None), from `load()` if it is not here."""
        if self._pid != os.getpid():
            self._decoded, self._open, self._pid = {}, {}, os.getpid()
        for store in (self._decoded, self._open):
            value = store.pop(key, None)
            if value is not None:
                store[key] = value
                return value
        value = load()
        if isinstance(value, np.ndarray) and not isinstance(value, np.memmap):
            if value.nbytes <= self.max_bytes:
                self._decoded[key] = value
                while len(self._decoded) > self.max_items or self.nbytes > self.max_bytes:
                    self._decoded.pop(next(iter(self._decoded)), None)
        else:
            self._open[key] = value
            while len(self._open) > self.max_open:
                self._open.pop(next(iter(self._open)), None)
        return value

    @property
    def nbytes(self) -> int:
        """Bytes of decoded pixels now held."""
        return sum(value.nbytes for value in list(self._decoded.values()))

    def __getstate__(self) -> dict[str, int]:
        return {"max_bytes": self.max_bytes, "max_items": self.max_items, "max_open": self.max_open}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]
