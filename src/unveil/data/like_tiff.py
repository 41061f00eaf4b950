"""A TIFF for results, written page by page: with the axes and the scale of the file that it is to be like."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.atomic import reserve
from unveil.data.placed import place

__all__ = ["CLASSIC", "create", "made_uuid", "write_pages", "write_series"]

_IMAGEJ = (
    "unit", "yunit", "zunit", "spacing", "finterval", "fps", "loop", "mode", "min", "max", "Info", "Labels", "Ranges",
    "LUTs",
)  # fmt: skip
"""What ImageJ says of its images, beside the axes."""
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
CLASSIC = 2**32 - 2**25
"""Bytes that a TIFF of 32 bits has for pixels."""
_OME = (
    "PhysicalSizeX",
    "PhysicalSizeXUnit",
    "PhysicalSizeY",
    "PhysicalSizeYUnit",
    "PhysicalSizeZ",
    "PhysicalSizeZUnit",
    "TimeIncrement",
    "TimeIncrementUnit",
)


@contextmanager
def create(
    path: Path, like: Path | None, count: int, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[tuple[np.ndarray, str]]:
    """Make a new file for `count` images (C, H, W), and its axes as letters of N, C, H, W; a map of it, to be filled.

    like: the file whose axes and scale it takes; None, or a file with other axes than these images: a page for each
    image.
    """
    import tifffile

    options = None if like is None else _follow(path, like, count, shape, dtype)
    letters, full = _plain(count, shape)
    plain = {"metadata": {"axes": letters}, **_photometric(letters, full)}
    try:
        array = tifffile.memmap(path, **(options or {"shape": full, **plain}), dtype=dtype)
        letters = letters if options is None else options["metadata"]["axes"]
    except (ValueError, TypeError, KeyError, tifffile.OmeXmlError):  # files say anything
        array = tifffile.memmap(path, shape=full, dtype=dtype, **plain)
    reserve(path)
    yield array, _axes(letters)
    array.flush()


def write_pages(path: Path, images: Iterable[np.ndarray]) -> None:
    """Write images (C, H, W) of different sizes, each on a page of its own, or on one a channel."""
    import tifffile

    with tifffile.TiffWriter(path) as file:
        for x in images:
            letters, full = _plain(1, x.shape)
            pixels = x.transpose(1, 2, 0) if letters == "YXS" else x.reshape(full)
            file.write(np.ascontiguousarray(pixels), metadata={"axes": letters}, **_photometric(letters, full))


def write_series(
    path: Path, like: Path, shapes: Sequence[tuple[int, ...]], images: Iterable[np.ndarray], dtype: np.dtype
) -> bool:
    """Write images (C, H, W) of `shapes` as the several series of an OME-TIFF `like`: axes, scales, units and names.

    False, and nothing is done, where they are not those of its series, in order.
    """
    places, images = _make_series(path, like, shapes, dtype), iter(images)
    for offset, full, axes in places:
        array = np.memmap(path, dtype, "r+", offset, full)
        for k in range(_stack(axes, full)[0]):
            place(array, axes, k, next(images))
        array.flush()
    return bool(places)


def _make_series(
    path: Path, like: Path, shapes: Sequence[tuple[int, ...]], dtype: np.dtype
) -> list[tuple[int, tuple[int, ...], str]]:
    """Make a file with series like those of `like`; return where each lies, its shape, and its axes; or none."""
    import tifffile

    with tifffile.TiffFile(like) as file:
        if not file.is_ome or len(file.series) < 2:
            return []
        stacks = [_stack(_axes(str(series.axes)), tuple(series.shape)) for series in file.series]
        if [shape for count, shape in stacks for _ in range(count)] != [tuple(shape) for shape in shapes]:
            return []
        places = []
        large = sum(series.size for series in file.series) * dtype.itemsize > CLASSIC
        try:
            with tifffile.TiffWriter(path, ome=True, bigtiff=large) as out:
                for k in range(len(file.series)):
                    how = _like_ome(path, file, k)
                    written: Any = out.write(dtype=dtype, contiguous=False, returnoffset=True, **how)
                    places.append((written[0], how["shape"], _axes(how["metadata"]["axes"])))  # (offset, bytes)
        except (ValueError, TypeError, KeyError, tifffile.OmeXmlError):  # files say anything
            return []
    reserve(path)
    return places


def _plain(count: int, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    c, h, w = shape
    letters, full = ("YX", (h, w)) if c == 1 else ("YXS", (h, w, 3)) if c == 3 else ("CYX", (c, h, w))
    return ("Q" + letters, (count, *full)) if count > 1 else (letters, full)


def _photometric(letters: str, full: tuple[int, ...]) -> dict[str, Any]:
    if "S" not in letters:
        return {"photometric": "minisblack"}
    return {
        "photometric": "rgb" if full[letters.index("S")] in (3, 4) else "minisblack",
        "planarconfig": "contig" if letters.endswith("S") else "separate",
    }


def _axes(letters: str) -> str:
    """Return tifffile's axes as N, C, H, W: as they are read."""
    return "".join({"Y": "H", "X": "W", "S": "C", "C": "C"}.get(a, "N") for a in letters)


def _follow(path: Path, like: Path, count: int, shape: tuple[int, ...], dtype: np.dtype) -> dict[str, Any] | None:
    """Return how to make the file `path` like `like`; None where it has other axes than `count` images (C, H, W)."""
    import tifffile

    with tifffile.TiffFile(like) as file:
        for k, series in enumerate(file.series):
            letters, full = str(series.axes), tuple(series.shape)
            if not _fits(_axes(letters), full, count, shape):
                continue
            scale = _resolution(series.keyframe)
            if file.is_ome:
                return {"ome": True, **_like_ome(path, file, k)}
            said = (file.imagej_metadata or {}) if file.is_imagej else {}
            if file.is_imagej and "S" not in letters and dtype.name in _IMAGEJ_TYPES:
                for other in set(letters) - set("TZCYX"):
                    letters = letters.replace(other, next(a for a in "ZT" if a not in letters))
                metadata = {"axes": letters, **{key: said[key] for key in _IMAGEJ if key in said}}
                return {"shape": full, "imagej": True, "metadata": metadata, **scale, **_photometric(letters, full)}
            return {"shape": full, "metadata": {"axes": letters}, **scale, **_photometric(letters, full)}
    return None


def _like_ome(path: Path, file: Any, k: int) -> dict[str, Any]:
    """Return how tifffile is to write a series like the k-th of the OME-TIFF `file` to `path`."""
    series = file.series[k]
    letters, full, xml = str(series.axes), tuple(series.shape), file.ome_metadata
    metadata = {"axes": letters, "UUID": made_uuid(path, xml), **_ome(xml, k)}
    return {"shape": full, "metadata": metadata, **_resolution(series.keyframe), **_photometric(letters, full)}


def _fits(axes: str, full: tuple[int, ...], count: int, shape: tuple[int, ...]) -> bool:
    return _stack(axes, full) == (count, tuple(shape))


def _stack(axes: str, full: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return how many images a series of these axes holds, and the shape (C, H, W) of each; 0 where it holds none."""
    if axes.count("H") != 1 or axes.count("W") != 1 or axes.count("C") > 1:
        return 0, ()
    sizes = dict(zip(axes, full))
    count = math.prod(n for n, a in zip(full, axes) if a == "N")
    return count, (sizes.get("C", 1), sizes["H"], sizes["W"])


def _resolution(page: Any) -> dict[str, Any]:
    x, y = (page.tags.get(name) for name in ("XResolution", "YResolution"))
    if x is None or y is None:
        return {}
    return {"resolution": (x.value, y.value), "resolutionunit": page.resolutionunit}


def made_uuid(path: Path, xml: str | None) -> str:
    """Return what is the same for the same file made again, which stays the same to the bit.

    path: a temporary `.NAME.1a2b3c4d.tif`.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{path.stem.rsplit('.', 1)[0]} {xml}"))


def _ome(xml: str | None, k: int) -> dict[str, Any]:
    """Return the name, the pixels' size, the time between frames and the channels' names of the k-th image."""
    import tifffile

    images = tifffile.xml2dict(xml or "").get("OME", {}).get("Image", {})
    image = images[min(k, len(images) - 1)] if isinstance(images, list) else images
    pixels = image.get("Pixels", {})
    metadata = {key: pixels[key] for key in _OME if key in pixels}
    if isinstance(image.get("Name"), str):
        metadata["Name"] = image["Name"]
    channels = pixels.get("Channel", [])
    names = [c.get("Name") for c in (channels if isinstance(channels, list) else [channels])]
    return {**metadata, "Channel": {"Name": names}} if names and all(isinstance(n, str) for n in names) else metadata
