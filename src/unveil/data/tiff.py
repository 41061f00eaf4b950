"""TIFF: one page or many, memory-mapped where the pixels lie uncompressed in one piece, else page by page.

The axes the file itself declares (ImageJ, OME, tifffile) are used: S and C are channels, Y and X rows and
columns, and every other one (pages, time, depth) counts images. Pages of different sizes are images of
different sizes. Of a pyramid its level 0 is the image; labels, macros, thumbnails and masks are none
(`unveil.data.tiff_pages`).

Pixels are read as a viewer shows them: turned as Orientation says, and integers of which the least is white
(MinIsWhite, radiographs and gels) as what the largest of their bits leaves, so that black is 0; what is written has 0
for black.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.axes import check_axes
from unveil.data.limits import check_count, check_size
from unveil.data.orientation import ORIENTATION, seen_axes, seen_pixels
from unveil.data.stored import StoredArray
from unveil.data.tiff_pages import Images, check_chain, check_whole, find_images
from unveil.errors import UnveilError

__all__ = ["scan"]

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what matters of its log is said in our words

_COLOURS = {3: "palette colours", 5: "CMYK colours", 8: "L*a*b* colours", 9: "L*a*b* colours", 10: "L*a*b* colours"}
_MINISWHITE = 0


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the arrays of the file `path`; axes: as in `open_images`, for files of one page without N as well."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        check_count(str(path), len(file.pages))
        if not len(file.pages):
            raise UnveilError(
                f"{path} holds no image, or was cut before its first: restore it from its source or leave it out"
            )
        check_chain(file, str(path))
        images = find_images(file, str(path))
        return [stored for some in images for stored in _arrays(path, file, some, axes, len(images) > 1)]


def _arrays(path: Path, file: Any, images: Images, axes: str | None, several: bool) -> list[StoredArray]:
    series, page = images.series, images.series.keyframe
    where = f"{path}:page {page.index}" if several else str(path)
    _check_kind(where, series)
    shape, dtype = tuple(series.shape), np.dtype(series.dtype)
    if axes is None:
        axes = _declared(series.axes, shape, where)
    elif len(shape) == len(axes) - axes.upper().count("N"):
        axes = axes.upper().replace("N", "")
    axes = check_axes(axes, shape, where)
    white = _white(where, page, dtype)
    orientation = page.tags.valueof(ORIENTATION)
    if series.dataoffset is not None and images.all:
        dtype = dtype.newbyteorder(file.byteorder)  # Fiji and some cameras write big-endian
        end = series.dataoffset + math.prod(shape) * dtype.itemsize
        check_whole(where, end, file.filehandle.size)
        load = partial(_memmap, path, images.number, images.level, axes, orientation)
        inside = f"page {page.index}" if several else ""
        return [StoredArray(path, inside, shape, dtype, seen_axes(axes, orientation), load, white)]
    return _pages(path, file, images, shape, dtype, axes, orientation, white)


def _check_kind(where: str, series: Any) -> None:
    """Raise UnveilError for colours and transparency that would be taken for grey or RGB, and for missing codecs."""
    import tifffile

    page = series.keyframe
    if series.is_multifile or any(p is None for p in series.pages):
        raise UnveilError(f"{where} continues in other files (OME-TIFF): save it as one file")
    if page.photometric in _COLOURS:
        raise UnveilError(f"{where} stores {_COLOURS[page.photometric]}: save it as grey or RGB")
    if {int(e) for e in page.extrasamples} & {1, 2}:
        raise UnveilError(f"{where} has an alpha channel: save it without")
    for table, code in (
        (tifffile.TIFF.DECOMPRESSORS, page.compression),
        (tifffile.TIFF.UNPREDICTORS, page.predictor),
    ):
        if code not in table:
            name = getattr(code, "name", code)
            raise UnveilError(
                f"{where} is compressed with {name}, which needs another package: "
                "pip install imagecodecs, or save it uncompressed"
            )


def _white(where: str, page: Any, dtype: np.dtype) -> int | None:
    """Return the stored number that is black, where numbers count down from white; None where they count up."""
    if page.photometric != _MINISWHITE:
        return None
    if dtype.kind not in "iu":
        raise UnveilError(
            f"{where} declares its least value white (MinIsWhite) and holds {dtype}: save it with black least"
        )
    return -1 if dtype.kind == "i" else 2 ** int(page.bitspersample) - 1


def _pages(
    path: Path,
    file: Any,
    images: Images,
    shape: tuple[int, ...],
    dtype: np.dtype,
    axes: str,
    orientation: Any,
    white: int | None,
) -> list[StoredArray]:
    """Return one stored array per image, so that an image decodes its own pages alone, each where the file has it."""
    series, where = images.series, str(path)
    page_shape = tuple(series.keyframe.shape)
    lead = len(shape) - len(page_shape)
    pages = list(series.pages)
    regular = (
        lead >= 0 and shape[lead:] == page_shape and "N" not in axes[lead:] and len(pages) == math.prod(shape[:lead])
    )
    if not regular or any(
        p.offset <= 0 for p in pages
    ):  # several pages in one, or pages that are not in the file's list
        check_size(where, math.prod(shape) * dtype.itemsize)
        load = partial(_whole, path, images.number, images.level, axes, orientation)
        return [StoredArray(path, "", shape, dtype, seen_axes(axes, orientation), load, white)]
    stack = [k for k in range(lead) if axes[k] == "N"]
    numbers: np.ndarray = np.arange(len(pages)).reshape(shape[:lead])
    numbers = np.moveaxis(numbers, stack, range(len(stack)))
    kept = tuple(n for n, a in zip(shape, axes) if a != "N")
    numbers = numbers.reshape(-1, int(np.prod(kept[: len(kept) - len(page_shape)])))
    axes = axes.replace("N", "")
    arrays = []
    for group in numbers.tolist():
        if not images.all and not set(group) & images.pages:
            continue
        some = [pages[k] for k in group]
        inside = f"page {some[0].index}" if len(pages) > 1 or images.number else ""
        here = f"{path}:{inside}" if inside else where
        for page in some:
            check_whole(here, _end(here, page), file.filehandle.size)
        check_size(here, math.prod(kept) * dtype.itemsize, sum(sum(page.databytecounts) for page in some))
        load = partial(_decode, path, [page.offset for page in some], kept, axes, orientation)
        arrays.append(StoredArray(path, inside, kept, dtype, seen_axes(axes, orientation), load, white))
    return arrays


def _end(where: str, page: Any) -> int:
    """Return where in the file the last of the page's data ends.

    Raises UnveilError if a part of them was never written.
    """
    held = sum(count > 0 and offset > 0 for offset, count in zip(page.dataoffsets, page.databytecounts))
    parts = max(len(page.dataoffsets), math.prod(page.chunked))
    if held < parts or not held:
        raise UnveilError(
            f"{where} has no data for {parts - held or 'any'} of the {parts} parts of its image, which would read as "
            "0: restore it from its source or leave it out"
        )
    return max(map(sum, zip(page.dataoffsets, page.databytecounts)))


def _declared(letters: str, shape: tuple[int, ...], where: str) -> str:
    """Return tifffile's axes, e.g. QYX or TZCYXS, as N, C, H, W."""
    known = {"Y": "H", "X": "W", "S": "C", "C": "C"}
    axes = "".join(known.get(a, "N") for a in letters)
    if axes.count("C") > 1 or axes.count("H") != 1 or axes.count("W") != 1:
        raise UnveilError(
            f"{where} declares the axes {letters} of shape {shape}: pass axes (--set data.axes=... on the command "
            'line), one letter of N, C, H, W for each, e.g. axes="NCHW"'
        )
    return axes


def _memmap(path: Path, number: int, level: int, axes: str, orientation: Any) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[number].levels[level]
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        if series.dataoffset is None:
            raise UnveilError(f"{path} has changed since it was opened: open it again")
        array = np.memmap(path, dtype, "r", series.dataoffset, tuple(series.shape))
    return seen_pixels(array, axes, orientation)


def _decode(path: Path, offsets: list[int], shape: tuple[int, ...], axes: str, orientation: Any) -> np.ndarray:
    """Return the pages whose entries in the file's list lie at `offsets`.

    No other is looked at, so that the last costs the first.
    """
    import tifffile

    pages = []
    with tifffile.TiffFile(path) as file:
        for offset in offsets:
            file.filehandle.seek(offset)
            pages.append(tifffile.TiffPage(file, 0).asarray())
    return seen_pixels(np.stack(pages).reshape(shape), axes, orientation)


def _whole(path: Path, number: int, level: int, axes: str, orientation: Any) -> np.ndarray:
    import tifffile

    return seen_pixels(tifffile.imread(path, series=number, level=level), axes, orientation)
