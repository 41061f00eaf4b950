"""RELION's table of particles (.star) as data: the images that its rows name, number@stack, in their order.

Stacks are MRC files, named from the folder of the project, which is that of the table or one above it
(https://relion.readthedocs.io). Rows may leave images of a stack out; those of one stack follow one another.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from unveil.data import mrc
from unveil.data.limits import check_size
from unveil.data.star import image_names
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["scan"]

ABOVE = 4
"""Folders above the table's in which a stack is looked for."""
MOST_BYTES = 2**30
"""Of a table."""


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the images that the table `path` names, an array for each of its stacks; axes: as in `open_images`.

    Raises UnveilError for a table without images or stacks that are not there, images that a stack has not, and rows
    of one stack with others in between.
    """
    check_size(f"the table {path}", min(path.stat().st_size, MOST_BYTES + 1))
    rows = [_row(path, name) for name in image_names(path.read_text(encoding="utf-8", errors="replace"))]
    if not rows:
        raise UnveilError(f"{path} names no images: give a table with a column _rlnImageName, or the stacks themselves")
    stacks = [(stack, [number for _, number in part]) for stack, part in groupby(rows, lambda row: row[0])]
    names = [stack for stack, _ in stacks]
    if len(set(names)) < len(names):
        again = next(stack for k, stack in enumerate(names) if stack in names[:k])
        raise UnveilError(f"{path}: the rows of {again} do not follow one another: sort the rows by stack")
    return [_picked(path, stack, numbers, axes) for stack, numbers in stacks]


def _row(path: Path, name: str) -> tuple[str, int]:
    """Return the stack, and the number in it from 0, of an image's name; one image alone has no number."""
    number, at, stack = name.strip("'\"").rpartition("@")
    if at and not number.isdecimal():
        raise UnveilError(f"{path}: {name[:80]} is no image: it must be number@stack")
    return stack, int(number) - 1 if at else 0


def _picked(path: Path, name: str, numbers: list[int], axes: str | None) -> StoredArray:
    """Return the images `numbers` of a stack."""
    stack = _find(path, name)
    (whole,) = mrc.scan(stack, axes)
    wrong = next((n for n in numbers if not 0 <= n < whole.images), None)
    if wrong is not None:
        raise UnveilError(f"{path} names image {wrong + 1} of {stack}, which has {whole.images}: restore the stack")
    if numbers == list(range(whole.images)):
        return whole
    if whole.axes != "NHW":
        raise UnveilError(f"{path} names some of the images of {stack}, whose axes are {whole.axes}: give a stack, NHW")
    picks = np.array(numbers)
    return replace(whole, shape=(len(picks), *whole.shape[1:]), load=partial(_Rows, whole.load, picks))


def _find(path: Path, name: str) -> Path:
    """Return the stack of this name, looked for from the table's folder upwards, and beside the table."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise UnveilError(f"{path} names {name[:120]}, which is outside of its project: write names from its folder")
    folders = [path.resolve().parent, *path.resolve().parents[1 : ABOVE + 1]]
    places = [*(folder / parts for folder in folders), path.resolve().parent / parts.name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UnveilError(f"{path} names {name[:120]}, which is not there: put it there, relative to the table")
    return found


class _Rows:
    """Some images of an open stack, of which parts are read."""

    def __init__(self, load: Any, picks: np.ndarray) -> None:
        self._stack, self._picks = load(), picks
        self.shape, self.dtype = (len(picks), *self._stack.shape[1:]), self._stack.dtype

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self._stack[(int(self._picks[key[0]]), *key[1:])])
