"""Which pages of a TIFF are images: labels, macros, thumbnails, masks and the lower levels of pyramids are not."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

from unveil.errors import UnveilError, warn

__all__ = ["Images", "check_chain", "check_whole", "find_images"]

_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller version of another page, and a mask of one."""
_SUBFILETYPE = 254
_FORM = (256, 257, 258, 259, 262, 277, 284, 317, 339)
"""Width, height, bits, compression, colours, samples and their order, predictor, type."""
_BYTES = {3: 2, 4: 4}
"""Of SHORT and LONG."""
_BESIDE = {"label", "macro", "map", "probability", "thumbnail"}
"""What scanners of slides call the pictures that they add."""


@dataclass(frozen=True)
class Images:
    """Pages of one shape and type. number, level: of the series in tifffile's list.

    pages: those of it that are images.
    """

    series: Any
    number: int
    level: int
    pages: frozenset[int]

    @property
    def all(self) -> bool:
        return len(self.pages) == len(self.series.pages)


def find_images(file: Any, where: str) -> list[Images]:
    """Return the images of an open `file`; warn once of pages that are none, unless there is nothing else in it."""
    found, beside = [], 0
    tops = _series(file)
    for number, top in enumerate(tops):
        for level, series in enumerate(top.levels):
            if level and (series.kind != "generic" or series.keyframe.is_subifd or series.keyframe.is_reduced):
                continue  # a level of a pyramid; of files that do not say so, pages of half the size are images
            kinds = _kinds(file, series)
            named = series.name.strip().lower().removesuffix(" image") in _BESIDE
            pages = frozenset(k for k, kind in enumerate(kinds) if not named and not kind & (_REDUCED | _MASK))
            beside += len(kinds) - len(pages)
            if pages:
                found.append(Images(series, number, level, pages))
    if not found:  # reduced images alone are what the user has
        return [Images(s, k, 0, frozenset(range(len(s.pages)))) for k, s in enumerate(tops)]
    if beside:
        warn(f"{where}: {beside} of its pages are labels, macros, thumbnails or masks, not images: they are left out")
    return found


def _series(file: Any) -> list[Any]:
    """Return tifffile's series.

    It calls all pages alike after a look at three of them: here all are looked at.
    """
    series = list(file.series)
    if series and series[0].kind == "uniform":
        forms = {tuple(entries.get(code) for code in _FORM) for entries in (_entries(file, p) for p in series[0].pages)}
        if len(forms) > 1:
            if callable(file.series):  # of tifffile's later releases
                return list(file.series(kind="generic"))
            file.is_uniform = False
            del file.series  # a cached property
            series = list(file.series)
    return series


def _kinds(file: Any, series: Any) -> list[int]:
    """Return NewSubfileType of each page: of frames, which tifffile does not read in full, from the file."""
    if len(series.pages) == 1:
        return [series.keyframe.subfiletype]
    return [_entries(file, page).get(_SUBFILETYPE, 0) for page in series.pages]


def _entries(file: Any, page: Any) -> dict[int, int]:
    """Return the tags of `page` that hold one number, by their own."""
    if page is None or page.offset <= 0:
        return {}
    tiff, fh = file.tiff, file.filehandle
    fh.seek(page.offset)
    count = struct.unpack(tiff.tagnoformat, fh.read(tiff.tagnosize))[0]
    form = struct.Struct(f"{tiff.byteorder}HHI4s" if tiff.tagsize == 12 else f"{tiff.byteorder}HHQ8s")
    data = fh.read(count * form.size)
    order: Literal["little", "big"] = "little" if tiff.byteorder == "<" else "big"
    return {
        code: int.from_bytes(value[: _BYTES[kind]], order)
        for code, kind, number, value in form.iter_unpack(data[: len(data) // form.size * form.size])
        if number == 1 and kind in _BYTES
    }


def check_chain(file: Any, where: str) -> None:
    """Warn if the list of pages leads to a page that is not there: what follows is lost without a word otherwise."""
    position = file.pages.next_page_offset
    if position is None:
        return
    file.filehandle.seek(position)
    stored = file.filehandle.read(file.tiff.offsetsize)
    inside = len(stored) == file.tiff.offsetsize
    if position > file.filehandle.size or (inside and struct.unpack(file.tiff.offsetformat, stored)[0]):
        warn(
            f"{where}: the list of its pages breaks off after {len(file.pages)}: if it should hold more, it was cut; "
            "restore it from its source"
        )


def check_whole(where: str, end: int, size: int) -> None:
    """Raise UnveilError if data that end at byte `end` do not lie in a file of `size` bytes."""
    if end > size:
        raise UnveilError(
            f"{where} cannot be read: its data end at byte {end} and the file at {size}, so it is truncated; restore "
            "it from its source or leave it out"
        )
