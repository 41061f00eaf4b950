"""An OME-TIFF for results of a microscope's file: its scenes, axes, pixel size, frame interval and channel names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.like_tiff import CLASSIC, made_uuid
from unveil.data.microscopy import Scene, scenes
from unveil.data.source import Origin
from unveil.errors import UnveilError

__all__ = ["SUFFIX", "write"]

SUFFIX = ".ome.tif"


def write(path: Path, parts: Sequence[Origin], images: Iterable[np.ndarray], dtype: np.dtype) -> None:
    """Write `images`, (C, H, W) each, to `path`, a series for each of `parts`, scenes of one file, in order.

    Raises UnveilError for images of another shape than their measurements.
    """
    import tifffile

    known = scenes(parts[0].path)
    images = iter(images)
    bytes_ = sum(math.prod(part.shape) for part in parts) * dtype.itemsize
    with tifffile.TiffWriter(path, ome=True, bigtiff=bytes_ > CLASSIC) as file:
        for part in parts:
            scene = known[int(part.inside.partition(" ")[0])]
            letters, shape = _layout(scene, part)
            file.write(
                _pages(images, part, letters),
                shape=shape,
                dtype=dtype,
                photometric="rgb" if letters.endswith("S") else "minisblack",
                metadata={"axes": letters, "UUID": made_uuid(path, part.inside), **_said(scene, letters)},
            )


def _layout(scene: Scene, part: Origin) -> tuple[str, tuple[int, ...]]:
    """Return the axes and the shape in OME's terms: an axis that it has no letter for is another, Q."""
    sizes = {axis: n for axis, n, kind in zip(scene.axes, scene.shape, part.axes) if kind == "N"}
    stack = "".join(axis if axis in "TZ" else "Q" for axis in sizes)
    if stack.count("Q") > 1:
        raise UnveilError(f"{part.path} has the axes {scene.axes}, more than OME-TIFF: export its scenes one by one")
    c, h, w = part.image_shape
    if "S" in scene.axes:
        return f"{stack}YXS", (*sizes.values(), h, w, c)
    return f"{stack}CYX", (*sizes.values(), c, h, w)


def _pages(images: Iterator[np.ndarray], part: Origin, letters: str) -> Iterator[np.ndarray]:
    for _ in range(part.images):
        x = next(images)
        if x.shape != part.image_shape:
            raise UnveilError(
                f"{part.path}: its results have the shape {x.shape} and its images {part.image_shape}, so that they "
                "are no stack like it: save the measurements as TIFF"
            )
        if letters.endswith("S"):
            yield np.ascontiguousarray(x.transpose(1, 2, 0))
        else:
            yield from x


def _said(scene: Scene, letters: str) -> dict[str, Any]:
    said: dict[str, Any] = {"Name": scene.name}
    for axis, step in scene.pixel.items():
        said |= {f"PhysicalSize{axis}": step, f"PhysicalSize{axis}Unit": "\u00b5m"}
    if scene.interval is not None and "T" in scene.axes:
        said |= {"TimeIncrement": scene.interval, "TimeIncrementUnit": "s"}
    count = scene.shape[scene.axes.index("C")] if "C" in scene.axes else 1
    if len(scene.channels) == count and not letters.endswith("S"):
        said["Channel"] = {"Name": list(scene.channels)}
    return said
