"""CZI, ND2 and LIF, of microscopes. Each scene is an array: C counts channels, T, Z and what else is scanned images.

Read by the readers that know all axes: bioio 3.6 with bioio-lif 2.0 gave one wavelength of twenty, and bioio-czi 3.0
one scene of two where the metadata name none, without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.limits import check_count
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["EXTENSIONS", "Scene", "pixel_size", "scan", "scenes"]

EXTENSIONS = (".czi", ".nd2", ".lif")


@dataclass(frozen=True)
class Scene:
    """One image of a file, over all of its axes.

    name: the file's. axes: a letter for each, Y and X among them, C channels, S colours. load: opens it, as
    `StoredArray.load`. pixel: steps along X, Y and Z, micrometres, those that are known. interval: seconds between
    frames. channels: their names.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], Any]
    pixel: dict[str, float] = field(default_factory=dict)
    interval: float | None = None
    channels: tuple[str, ...] = ()

    @property
    def letters(self) -> str:
        """`axes` as N, C, H, W."""
        known = {"Y": "H", "X": "W", "C": "C", "S": "C"}
        return "".join(known.get(axis, "N") for axis in self.axes)


def scenes(path: Path) -> list[Scene]:
    """Return the scenes of the file `path`, in order.

    Raises UnveilError where the package that reads it is not installed.
    """
    try:
        if path.suffix.lower() == ".czi":
            from unveil.data import czi

            return czi.scenes(path)
        if path.suffix.lower() == ".nd2":
            from unveil.data import nd2s

            return nd2s.scenes(path)
        from unveil.data import lif

        return lif.scenes(path)
    except ImportError as error:
        package = (error.name or "a").partition(".")[0]
        raise UnveilError(f"{path} needs the {package} package: pip install 'unveil[microscopy]'") from None


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return an array for each scene of the file `path`; axes: as in `open_images`, letters of the file's own axes.

    Raises UnveilError for a file without an image.
    """
    found = scenes(path)
    if not found:
        raise UnveilError(f"{path} holds no image: look at it in the microscope's program, or leave it out")
    arrays = [
        StoredArray(path, f"{k} {scene.name}", scene.shape, scene.dtype, axes or scene.letters, scene.load)
        for k, scene in enumerate(found)
    ]
    check_count(str(path), sum(array.images for array in arrays))
    return arrays


def pixel_size(path: Path) -> tuple[float, str] | None:
    """Return the step along X of the first scene, micrometres, and its unit; None where it is not known."""
    pixel = scenes(path)[0].pixel
    return (pixel["X"], "\u00b5m") if "X" in pixel else None
