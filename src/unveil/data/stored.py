"""Images that lie in files: one array per file, dataset or page, whatever the format.

Each format only says which arrays a file holds and how to open one (`StoredArray`); slicing, names, value
ranges and messages are here, once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.data.axes import check_axes
from unveil.data.cache import Cache
from unveil.data.faults import unreadable
from unveil.data.limits import check_count, check_size
from unveil.data.mapped import check_mapped
from unveil.data.names import file_names
from unveil.data.source import ImageSource, Origin, Window
from unveil.data.values import check_dtype, natural_range, to_float32
from unveil.errors import UnveilError
from unveil.words import counted

__all__ = ["StoredArray", "StoredImages"]


@dataclass(frozen=True)
class StoredArray:
    """One array in a file, not yet opened.

    path: the file. inside: the dataset or page within it, or "". shape, dtype: of the array as `load()`
    returns it. axes: one letter of N, C, H, W for each axis. load: opens it, as anything that takes a
    tuple of integers and slices (memory map, HDF5 dataset, zarr array), or decodes it; picklable.
    white: of integers that count down from white to black, the stored number that is black: v is read as white - v.
    scale: (slope, intercept) where the file says that v stands for slope v + intercept, which then is what is read.
    place: to sort by, among the others that have one, where files are named in no order; None: as files are named.
    magnitude: whether the file says that these are magnitudes of complex numbers.
    gaps: whether NaN, as `load()` gives it, marks pixels that were not measured.
    Raises UnveilError if axes, shape and dtype are not those of images.
    """

    path: Path
    inside: str
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: str
    load: Callable[[], Any]
    white: int | None = None
    scale: tuple[float, float] | None = None
    place: tuple[Any, ...] | None = None
    magnitude: bool = False
    gaps: bool = False

    def __post_init__(self) -> None:
        check_count(self.where, self.images)
        check_dtype(self.dtype, self.where)
        object.__setattr__(self, "axes", check_axes(self.axes, self.shape, self.where))
        if self.dtype.kind == "c" and self._size("C") > 1 and "N" not in self.axes:
            raise UnveilError(
                f"{self.where} holds one complex image of {self._size('C')} channels: save coils as (N, C, H, W), with "
                'axes="NCHW", or name echoes N in axes'
            )

    @property
    def where(self) -> str:
        return f"{self.path}:{self.inside}" if self.inside else str(self.path)

    @property
    def images(self) -> int:
        return math.prod(self._stack)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) after conversion to float32; of complex numbers, C real parts and then C imaginary parts."""
        return self._size("C") * (2 if self.dtype.kind == "c" else 1), self._size("H"), self._size("W")

    def cut(self, array: Any, k: int, window: Window) -> np.ndarray:
        """Return the window of the k-th image of the opened `array`, (C, h, w) as stored, and read nothing else."""
        top, left, h, w = window
        part = {"C": slice(None), "H": slice(top, top + h), "W": slice(left, left + w)}
        stack = iter(np.unravel_index(k, self._stack)) if self._stack else iter(())
        v = np.asarray(array[tuple(int(next(stack)) if a == "N" else part[a] for a in self.axes)])
        if self.white is not None:
            v = v.dtype.type(self.white) - v
        if self.scale is not None:
            v = v * self.scale[0] + self.scale[1]
        kept = self.axes.replace("N", "")
        return v.transpose([kept.index(a) for a in "CHW" if a in kept]).reshape(self._size("C"), h, w)

    @property
    def _stack(self) -> tuple[int, ...]:
        return tuple(n for n, a in zip(self.shape, self.axes) if a == "N")

    def _size(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


class StoredImages(ImageSource):
    """The images of `arrays`, in that order.

    value_range: as `unveil.data.values` says. cache: for open files and decoded images.
    Raises UnveilError, which names both files, if channel counts differ.
    """

    def __init__(
        self,
        arrays: Sequence[StoredArray],
        value_range: tuple[float, float] | None = None,
        cache: Cache | None = None,
    ) -> None:
        self._arrays = list(arrays)
        self._range = value_range
        self.gaps = any(a.gaps for a in self._arrays)
        self._cache = cache or Cache()
        first = self._arrays[0]
        for a in self._arrays:
            if a.image_shape[0] != first.image_shape[0]:
                raise UnveilError(
                    f"{first.where} has {counted(first.image_shape[0], 'channel')} and {a.where} "
                    f"{a.image_shape[0]}: keep images of one kind in a folder, or convert them"
                )
        self._ends = list(accumulate(a.images for a in self._arrays))
        per_file: Counter[Path] = Counter()
        for a in self._arrays:
            per_file[a.path] += a.images
        self._names = file_names(list(per_file.items()))
        self._bytes = {a.path: a.path.stat().st_size if a.path.is_file() else 0 for a in self._arrays}

    @property
    def channels(self) -> int:
        return self._arrays[0].image_shape[0]

    def __len__(self) -> int:
        return self._ends[-1]

    def shape(self, i: int) -> tuple[int, int, int]:
        return self._arrays[self._locate(i)[0]].image_shape

    def name(self, i: int) -> str:
        return self._names[self._index(i)]

    def dtype(self, i: int) -> str:
        return self._arrays[self._locate(i)[0]].dtype.newbyteorder("=").name

    def origin(self, i: int) -> Origin:
        a = self._arrays[self._locate(i)[0]]
        plain = (0.0, 1.0) if a.scale is not None else natural_range(a.dtype)
        return Origin(a.path, a.shape, a.axes, a.dtype, self._range or plain, a.scale, a.magnitude, a.inside)

    def where(self, i: int) -> str:
        return f"{self._arrays[self._locate(i)[0]].where} (image {i})"

    def _locate(self, i: int) -> tuple[int, int]:
        """Return (number of the array, number of the image in it)."""
        k = bisect_right(self._ends, self._index(i))
        return k, i - (self._ends[k] - self._arrays[k].images)

    def _read(self, i: int, window: Window) -> Tensor:
        k, n = self._locate(i)
        stored = self._arrays[k]
        check_size(self.where(i), 4 * stored.image_shape[0] * window[2] * window[3])
        try:
            array = self._cache.get(k, stored.load)
            check_mapped(array)
            if tuple(array.shape) != stored.shape or array.dtype != stored.dtype:
                raise UnveilError(
                    f"{stored.where} has changed since it was opened, from {stored.dtype} {stored.shape} to "
                    f"{array.dtype} {tuple(array.shape)}: open it again"
                )
            v = stored.cut(array, n, window)
        except UnveilError:
            raise
        except Exception as error:  # decoders raise whatever comes: OSError, SyntaxError, zlib.error, struct.error
            raise unreadable(self.where(i), error) from error
        return torch.from_numpy(to_float32(v, self._range))

    def _identity(self, i: int) -> str:
        a = self._arrays[self._locate(i)[0]]
        return f"{self.name(i)} {a.image_shape} {a.dtype} {self._bytes[a.path]} {self._range}"
