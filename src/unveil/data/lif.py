"""LIF, of Leica: read frame by frame; spectra and lifetimes are axes as time and depth are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import liffile
import numpy as np

from unveil.data.microscopy import Scene

__all__ = ["scenes"]

_METRES = 1e6
"""Micrometres in one."""


def scenes(path: Path) -> list[Scene]:
    """Return the images of the file `path`, but scans of a point or a line; without Y, the depths Z are rows."""
    with liffile.LifFile(path) as file:
        return [_scene(path, k, image) for k, image in enumerate(file.images) if len(set("XYZ") & set(image.dims)) > 1]


def _scene(path: Path, number: int, image: Any) -> Scene:
    dims = "".join(image.dims)
    steps = {axis: _step(image.coords.get(axis)) for axis in "XYZT"}
    pixel = {axis: _METRES * steps[axis] for axis in "XYZ" if steps[axis] > 0}
    axes = dims
    if "Y" not in dims:
        axes = dims.replace("Z", "Y")
        pixel = {**({"X": pixel["X"]} if "X" in pixel else {}), **({"Y": pixel["Z"]} if "Z" in pixel else {})}
    interval = steps["T"] if steps["T"] > 0 else None
    load = partial(_Frames, path, number)
    return Scene(image.name, axes, tuple(image.shape), np.dtype(image.dtype), load, pixel, interval)


def _step(coords: Any) -> float:
    return 0.0 if coords is None or len(coords) < 2 else abs(float(coords[-1] - coords[0])) / (len(coords) - 1)


class _Frames:
    """An image as an array, of which frames are read when they are asked for."""

    def __init__(self, path: Path, number: int) -> None:
        self._file = liffile.LifFile(path)
        self._image = self._file.images[number]
        self.shape, self.dtype = tuple(self._image.shape), np.dtype(self._image.dtype)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        dims, inner = self._image.dims, set(self._image.frames.frame_dims)
        asked = dict(zip(dims, index))
        frames = self._image.frames(**{axis: asked[axis] for axis in dims if axis not in inner})
        window = tuple(asked[axis] for axis in dims if axis in inner)
        return np.asarray(frames.asarray())[(..., *window)]
