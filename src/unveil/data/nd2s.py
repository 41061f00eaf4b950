"""ND2, of Nikon: read frame by frame; each stage position is a scene."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import nd2
import numpy as np

from unveil.data.microscopy import Scene

__all__ = ["scenes"]

_POSITION = "P"
_SECOND = 1000
"""Milliseconds in one."""


def scenes(path: Path) -> list[Scene]:
    """Return the scenes of the file `path`."""
    with nd2.ND2File(path) as file:
        sizes, dtype, voxel = dict(file.sizes), np.dtype(file.dtype), file.voxel_size()
        names = tuple(channel.channel.name for channel in (file.metadata.channels if file.metadata else None) or ())
        interval = next(filter(None, map(_interval, file.experiment)), None)
    axes = "".join(axis for axis in sizes if axis != _POSITION)
    pixel = {axis: float(step) for axis, step in zip("XYZ", voxel) if axis in sizes and step > 0}
    shape = tuple(sizes[axis] for axis in axes)
    return [
        Scene(f"position {p}", axes, shape, dtype, partial(_Frames, path, p), pixel, interval, names)
        for p in range(sizes.get(_POSITION, 1))
    ]


class _Frames:
    """A position as an array, of which frames are read when they are asked for."""

    def __init__(self, path: Path, position: int) -> None:
        self._file = nd2.ND2File(path)
        array = self._file.to_dask()
        self._array = array[tuple(position if axis == _POSITION else slice(None) for axis in self._file.sizes)]
        self.shape, self.dtype = tuple(self._array.shape), np.dtype(self._array.dtype)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self._array[index])

    def __del__(self) -> None:
        file = getattr(self, "_file", None)  # of which it would warn
        if file is not None and not file.closed:
            file.close()


def _interval(loop: Any) -> float | None:
    """Return the seconds between frames as they were taken, or else as they were asked for."""
    if loop.type != "TimeLoop":
        return None
    measured = getattr(loop.parameters.periodDiff, "avg", 0.0) or loop.parameters.periodMs
    return measured / _SECOND if measured and measured > 0 else None
