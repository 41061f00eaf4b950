"""Chunks that nobody wrote: HDF5 and zarr read them as the fill value, as a rule zero, without a word."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from unveil.errors import UnveilError, warn

__all__ = ["check_written"]


def check_written(
    where: str, shape: tuple[int, ...], chunks: tuple[int, ...], axes: str, present: Iterable[tuple[int, ...]]
) -> None:
    """Warn of chunks that are missing, one line for all.

    shape, chunks: of the array and of one chunk. axes: one letter of N, C, H, W for each of its axes. present: the
    chunks that are stored, each by its place among the chunks, along each axis.
    Raises UnveilError where an image has none at all.
    """
    grid = [math.ceil(n / size) for n, size in zip(shape, chunks)]
    stack = [k for k, axis in enumerate(axes) if axis == "N"]
    some = np.zeros([grid[k] for k in stack], dtype=bool)
    count = 0
    for chunk in present:
        if all(0 <= i < n for i, n in zip(chunk, grid)):  # an array that was made smaller keeps chunks outside
            some[tuple(chunk[k] for k in stack)] = True
            count += 1
    if not some.all():
        covered = some
        for axis, k in enumerate(stack):
            covered = covered.repeat(chunks[k], axis).take(range(shape[k]), axis)
        empty = np.flatnonzero(~covered.reshape(-1))
        raise UnveilError(
            f"{where}: {len(empty)} of its {covered.size} images were never written (image {empty[0]} first), and "
            "would be read as its fill value: write them, or copy the data again, whole"
        )
    if count < math.prod(grid):
        warn(
            f"{where}: {math.prod(grid) - count} of its {math.prod(grid)} chunks were never written and are read as "
            "its fill value; if they should hold measurements, copy the data again, whole"
        )
