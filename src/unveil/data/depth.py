"""Which images of a file are the slices of one volume, as its axes say: Z of TIFF, OME-Zarr, CZI, ND2 and LIF.

k of NIfTI, and the sections of an MRC file that calls itself a volume, are Z as well. Pages, time and N are none: what
is no depth by the file's own word is not taken for one.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unveil.data import microscopy, nifti
from unveil.data.like_mrc import EXTENSIONS as MRC
from unveil.data.pixel_size import metres, pixel_size
from unveil.data.source import ImageSource

__all__ = ["Place", "groups", "places"]


VOLUMES = 401
"""The space group of MRC from which on a file is a stack of volumes, of mz sections each (Cheng et al. 2015)."""


@dataclass(frozen=True)
class Place:
    """Where a slice lies: the name of its volume, its number from 0, and how many there are.

    step: the distance of slices over the side of a pixel; None: the file does not state it. pixel, unit: that side.
    """

    volume: str
    number: int
    count: int
    step: float | None = None
    pixel: float | None = None
    unit: str = ""


def places(source: ImageSource) -> dict[int, Place]:
    """Return the places of the images of `source` that are slices of volumes, all of which it holds, in their order."""
    files: dict[Path, list[int]] = {}
    for i in range(len(source)):
        if (path := source.file(i)) is not None:
            files.setdefault(path, []).append(i)
    found: dict[int, Place] = {}
    for path, images in files.items():
        try:
            told = _depth(path)
        except Exception:  # headers of other programs hold anything, and their readers raise anything
            continue
        if told is not None and math.prod(n for _, n in told[0]) == len(images) > 1:
            found |= dict(zip(images, _placed(path, *told)))
    return found


def groups(source: ImageSource, found: Mapping[int, Place]) -> list[str]:
    """Return of each image of `source` what it belongs to with others: its file, of several; else its volume, or "".

    found: its `places`. Images of one file alone that says nothing of volumes are taken to be independent.
    """
    files = [source.file(i) for i in range(len(source))]
    if len({file for file in files if file is not None}) > 1:
        return [str(file or "") for file in files]
    return [found[i].volume if i in found else "" for i in range(len(source))]


def _placed(path: Path, stack: list[tuple[str, int]], step: float | None) -> list[Place]:
    """Return the places of all images of a file, whose axes (letter, length) are those of `stack`, the last fastest."""
    size = pixel_size(path) or (None, "")
    step = step if step is not None and math.isfinite(step) and step > 0 else None
    total, result = math.prod(n for _, n in stack), []
    for k in range(total):
        rest, index = k, {}
        for letter, n in reversed(stack):
            rest, index[letter] = divmod(rest, n)
        others = " ".join(f"{letter}{index[letter]}" for letter, _ in stack if letter != "Z")
        result.append(Place(f"{path.name} {others}".strip(), index["Z"], dict(stack)["Z"], step, *size))
    return result


Told = tuple[list[tuple[str, int]], float | None]


def _depth(path: Path) -> Told | None:
    """Return the axes that count images, with Z once among them, and Z's step over X's; None where there is no Z."""
    suffix = path.suffix.lower()
    if path.is_dir():
        told = _zarr(path)
    elif suffix in (".tif", ".tiff"):
        told = _tiff(path)
    elif suffix in MRC:
        told = _mrc(path)
    elif suffix in microscopy.EXTENSIONS:
        told = _microscope(path)
    else:
        told = _nifti(path) if path.name.lower().endswith(nifti.EXTENSIONS) else None
    if told is None:
        return None
    stack = [(letter, n) for letter, n in told[0] if letter not in "YXCS"]
    letters = [letter for letter, _ in stack]
    return (stack, told[1]) if letters.count("Z") == 1 and len(set(letters)) == len(letters) else None


def _tiff(path: Path) -> Told | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            return None
        axes = list(zip(file.series[0].axes, file.series[0].shape))
        if file.is_ome:
            images = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]
            said = (images[0] if isinstance(images, list) else images)["Pixels"]
            z, x = ((said.get(f"PhysicalSize{a}"), said.get(f"PhysicalSize{a}Unit", "µm")) for a in "ZX")
            return axes, _ratio(*z, *x)
        if file.is_imagej:
            count, length = file.pages.first.tags["XResolution"].value
            stated = file.imagej_metadata or {}
            unit = stated.get("unit")
            return axes, _ratio(stated.get("spacing"), stated.get("zunit", unit), length / count, unit)
        return axes, None


def _zarr(path: Path) -> Told | None:
    new, old = path / "zarr.json", path / ".zattrs"
    said = json.loads((new if new.is_file() else old).read_text(encoding="utf-8"))
    said = said["attributes"] if new.is_file() else said
    (scales,) = said.get("ome", said)["multiscales"]
    names = [axis["name"].upper() for axis in scales["axes"]]
    level = scales["datasets"][0]
    array = path / level["path"]
    meta = json.loads((array / ("zarr.json" if new.is_file() else ".zarray")).read_text(encoding="utf-8"))
    sides = [1.0] * len(names)
    for one in [*level["coordinateTransformations"], *scales.get("coordinateTransformations", [])]:
        if one["type"] == "scale":
            sides = [a * b for a, b in zip(sides, one["scale"])]
    units = {axis["name"].upper(): axis.get("unit") for axis in scales["axes"]}
    step = None
    if "Z" in names:
        step = _ratio(sides[names.index("Z")], units["Z"], sides[names.index("X")], units["X"])
    return list(zip(names, meta["shape"])), step


def _mrc(path: Path) -> Told | None:
    import mrcfile

    with warnings.catch_warnings():  # of an old header, which was read all the same
        warnings.simplefilter("ignore")
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            space, n, each = (int(file.header[key]) for key in ("ispg", "nz", "mz"))
            step = _ratio(file.voxel_size.z, "Å", file.voxel_size.x, "Å")
        if path.suffix.lower() == ".mrcs" or space == 0:  # a stack of images, by its name or its header
            return None
        several = space >= VOLUMES and each > 0 and n % each == 0
        return ([("N", n // each), ("Z", each)] if several else [("Z", n)]), step


def _microscope(path: Path) -> Told | None:
    scenes = microscopy.scenes(path)
    if len(scenes) != 1:
        return None
    pixel: Mapping[str, float] = scenes[0].pixel
    return list(zip(scenes[0].axes, scenes[0].shape)), _ratio(pixel.get("Z"), "µm", pixel.get("X"), "µm")


def _nifti(path: Path) -> Told | None:
    header = nifti.open_image(path).header
    shape, sides = header.get_data_shape(), header.get_zooms()
    unit = header.get_xyzt_units()[0]
    return list(zip("XYZTUVW", shape)), _ratio(sides[2], unit, sides[0], unit) if len(shape) > 2 else None


def _ratio(z: Any, unit_z: Any, x: Any, unit_x: Any) -> float | None:
    """Return z over x, each in a unit of its own; None where one is not stated, or units differ that are no lengths."""
    if z is None or x is None or not float(x) > 0:
        return None
    per_z, per_x = (1.0, 1.0) if unit_z == unit_x else (metres(unit_z), metres(unit_x))
    return None if per_z is None or per_x is None else float(z) * per_z / (float(x) * per_x)
