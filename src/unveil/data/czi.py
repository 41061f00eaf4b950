"""CZI, of ZEISS: read plane by plane and window by window with ZEISS' own library; tiles of a mosaic are in place."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pylibCZIrw import czi

from unveil.data.microscopy import Scene
from unveil.errors import UnveilError

__all__ = ["scenes"]

_TYPES = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}
_SAMPLES = {"Bgr24": 3, "Bgr48": 3}
_METRES = 1e6
"""Micrometres in one."""


def scenes(path: Path) -> list[Scene]:
    """Return the scenes of the file `path`."""
    with czi.open_czi(str(path)) as file:
        sizes = {axis: stop - start for axis, (start, stop) in file.total_bounding_box_no_pyramid.items()}
        boxes = file.scenes_bounding_rectangle_no_pyramid or {None: file.total_bounding_rectangle_no_pyramid}
        kinds, said = set(file.pixel_types.values()), ElementTree.fromstring(file.raw_metadata)
    if len(kinds) != 1 or not kinds <= set(_TYPES):
        raise UnveilError(f"{path} has channels of {' and '.join(sorted(kinds))}: export those of one kind as OME-TIFF")
    (kind,) = kinds
    stack = [axis for axis in sizes if axis not in "CYX" and (axis in "TZ" or sizes[axis] > 1)]
    axes = "".join(stack) + ("YXS" if kind in _SAMPLES else "CYX")
    if kind in _SAMPLES and sizes.get("C", 1) > 1:
        raise UnveilError(f"{path} has several channels of colour: export them one by one, as OME-TIFF")
    found = []
    for scene, box in boxes.items():
        own = {**sizes, "C": sizes.get("C", 1), "Y": box.h, "X": box.w, "S": 3}
        shape, dtype = tuple(own[axis] for axis in axes), np.dtype(_TYPES[kind])
        load = partial(_Planes, path, scene, (box.x, box.y), axes, shape, dtype)
        name = f"scene {scene}" if scene is not None else path.stem
        found.append(Scene(name, axes, shape, dtype, load, _pixel(said), _interval(said), _channels(said)))
    return found


class _Planes:
    """A scene as an array, of which a window is read when it is asked for."""

    def __init__(
        self, path: Path, scene: int | None, corner: tuple[int, int], axes: str, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._file = czi.CziReader(str(path))
        self._scene, self._corner, self._axes = scene, corner, axes
        self.shape, self.dtype = shape, dtype

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        at = dict(zip(self._axes, index))
        rows, columns = (range(n)[at[axis]] for axis, n in zip(self._axes, self.shape) if axis in "YX")
        roi = (self._corner[0] + columns.start, self._corner[1] + rows.start, len(columns), len(rows))
        plane = {axis: int(k) for axis, k in at.items() if axis not in "CYXS"}
        channels = range(self.shape[self._axes.index("C")] if "C" in self._axes else 1)
        read = [self._file.read(roi=roi, plane={**plane, "C": c}, scene=self._scene) for c in channels]
        if "S" in self._axes:
            return np.asarray(read[0][..., ::-1], self.dtype)  # stored as blue, green, red
        return np.asarray(np.stack([v[..., 0] for v in read]), self.dtype)


def _pixel(said: Any) -> dict[str, float]:
    steps = {item.get("Id"): item.findtext("Value") for item in said.iterfind(".//Scaling/Items/Distance")}
    pixel = {axis: _METRES * float(steps.get(axis) or 0) for axis in "XYZ"}
    return {axis: round(step, 9) for axis, step in pixel.items() if step > 0}


def _interval(said: Any) -> float | None:
    text = said.findtext(".//Information/Image/Dimensions/T/Positions/Interval/Increment")
    return float(text) if text else None


def _channels(said: Any) -> tuple[str, ...]:
    found = said.iterfind(".//Information/Image/Dimensions/Channels/Channel")
    return tuple(channel.get("Name") or channel.get("Id") or "" for channel in found)
