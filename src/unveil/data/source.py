"""The contract of every set of images: how many there are, how large each is, and any window of any.

Everything downstream (training, evaluation, the command line) reads measurements through `ImageSource` alone,
so a folder of PNG files, a stack in HDF5 and tensors in memory are the same thing. A source streams: it never
holds all images at once, and where the format permits it reads only the window that was asked for.

The shortest implementation, and the template for a new one, is `unveil.data.memory.MemorySource`.
"""

from __future__ import annotations

import hashlib
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["ImageSource", "Origin", "Subset", "Window"]

Window = tuple[int, int, int, int]  # (top, left, height, width), in pixels


@dataclass(frozen=True)
class Origin:
    """The file that an image lies in, and how: what it takes to write a result like it.

    path: the file, or the folder of a zarr array. shape, axes, dtype: of the stored array that holds the image, and
    maybe others; axes are letters of N, C, H, W. value_range: the numbers that are read as 0 and 1. scale: (slope,
    intercept) where the file says that a stored number v stands for slope v + intercept, as those of value_range do.
    magnitude: whether it says that they are magnitudes of complex numbers. inside: which of its arrays it is.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype
    value_range: tuple[float, float]
    scale: tuple[float, float] | None = None
    magnitude: bool = False
    inside: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) as stored."""
        c, h, w = (self.shape[self.axes.index(a)] if a in self.axes else 1 for a in "CHW")
        return c, h, w

    @property
    def images(self) -> int:
        """How many the array holds."""
        return math.prod(n for n, a in zip(self.shape, self.axes) if a == "N")


class ImageSource(ABC):
    """Images y_0, ..., y_{n-1}, each (C, H_i, W_i): C is common to all, the height and width need not be.

    gaps: whether NaN marks pixels that are not measured. raw: the same images, whatever those pixels hold.
    """

    gaps: bool = False

    @property
    def raw(self) -> ImageSource:
        """The images with whatever is stored at pixels that are not measured."""
        return self

    @property
    @abstractmethod
    def channels(self) -> int:
        """C, the same for every image."""

    @abstractmethod
    def __len__(self) -> int:
        """Return n, at least 1."""

    @abstractmethod
    def shape(self, i: int) -> tuple[int, int, int]:
        """Return (C, H_i, W_i), known without reading the pixels."""

    @abstractmethod
    def name(self, i: int) -> str:
        """Return a name that is stable and the stem of a file, unique in the source and allowed on all file systems."""

    @abstractmethod
    def _read(self, i: int, window: Window) -> Tensor:
        """Return the window of image i as float32 (C, height, width).

        `read` has checked both arguments.
        """

    def dtype(self, i: int) -> str:
        """Return the type of the numbers that image i is stored in, as NumPy names it."""
        return "float32"

    def origin(self, i: int) -> Origin | None:
        """Return the file that image i lies in; None: it lies in no file."""
        return None

    def file(self, i: int) -> Path | None:
        """Return the file that holds image i; None where there is none."""
        origin = self.origin(i)
        return None if origin is None else origin.path

    def files(self) -> list[Path]:
        """Return the files of all images, each once."""
        return list(dict.fromkeys(path for i in range(len(self)) if (path := self.file(i)) is not None))

    def as_read(self, i: int, window: Window, value: Tensor) -> Tensor:
        """Return what `value`, () or (C or 1, h, w), on the scale of the file is read as in a window of image i."""
        return value

    def smallest(self) -> tuple[int, int]:
        """Return the smallest side of all images, pixels, and the number of the first image that has it."""
        return min((min(self.shape(i)[1:]), i) for i in range(len(self)))

    def where(self, i: int) -> str:
        """Return where image i comes from, for the messages of errors."""
        return f"{self.name(i)} (image {i})"

    def read(self, i: int, window: Window | None = None) -> Tensor:
        """Return image i, or a window of it: float32 (C, h, w) on the CPU, a copy that may be written to.

        i: 0 <= i < len(source). window: (top, left, height, width) in pixels, inside the image; None: all.
        Raises UnveilError if i or the window is outside, if the file cannot be decoded, or if what was read
        contains infinite values, or NaN that mark no gaps.
        """
        _, height, width = self.shape(self._index(i))
        if window is None:
            window = (0, 0, height, width)
        top, left, h, w = window
        if min(top, left) < 0 or min(h, w) < 1 or top + h > height or left + w > width:
            raise UnveilError(
                f"{self.where(i)}: the window (top, left, height, width) = {tuple(window)} is not inside the image of "
                f"{height}x{width} pixels"
            )
        x = self._read(i, window)
        known = np.isfinite(x.numpy())  # NumPy: threads cost more than so small a task
        if not known.all() and not (self.gaps and np.isnan(x.numpy()[~known]).all()):
            raise UnveilError(
                f"{self.where(i)} contains NaN or infinite values; mask or replace them (images with holes: unveil "
                "init inpainting with operator.mask, 0 where a pixel is missing)"
            )
        return x

    def subset(self, indices: Sequence[int]) -> ImageSource:
        """Return the images `indices`, in that order, under the same names.

        Raises UnveilError if there is none, one outside, or one that occurs twice.
        """
        return Subset(self, indices)

    def whole(self) -> ImageSource:
        """Return the same images, of which one with gaps is refused when it is read: references, maps, frames."""
        part = Subset(self, range(len(self)))
        part.gaps = False
        return part

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with the names, shapes and file sizes; it reads no pixels."""
        digest = hashlib.sha256()
        for i in range(len(self)):
            digest.update(f"{self._identity(i)}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def _identity(self, i: int) -> str:
        """Return what the fingerprint knows about image i."""
        return f"{self.name(i)} {self.shape(i)}"

    def _index(self, i: int) -> int:
        i = operator.index(i)
        if not 0 <= i < len(self):
            raise UnveilError(f"there is no image {i}: this source has {len(self)}, numbered from 0")
        return i


class Subset(ImageSource):
    """Some images of another source: nothing is copied, caches are shared."""

    def __init__(self, parent: ImageSource, indices: Sequence[int]) -> None:
        self._parent = parent
        self._indices = [parent._index(int(i)) for i in indices]
        if not self._indices:
            raise UnveilError("the subset has no image: pass at least one index")
        if len(set(self._indices)) < len(self._indices):
            raise UnveilError("the subset names an image twice: pass every index at most once")
        self.gaps = self.gaps or parent.gaps

    @property
    def raw(self) -> ImageSource:
        return Subset(self._parent.raw, self._indices) if self._parent.gaps else self

    @property
    def indices(self) -> list[int]:
        """The numbers of the images, in the parent."""
        return list(self._indices)

    @property
    def channels(self) -> int:
        return self._parent.channels

    def __len__(self) -> int:
        return len(self._indices)

    def shape(self, i: int) -> tuple[int, int, int]:
        return self._parent.shape(self._indices[self._index(i)])

    def name(self, i: int) -> str:
        return self._parent.name(self._indices[self._index(i)])

    def dtype(self, i: int) -> str:
        return self._parent.dtype(self._indices[self._index(i)])

    def origin(self, i: int) -> Origin | None:
        return self._parent.origin(self._indices[self._index(i)])

    def where(self, i: int) -> str:
        return self._parent.where(self._indices[self._index(i)])

    def as_read(self, i: int, window: Window, value: Tensor) -> Tensor:
        return self._parent.as_read(self._indices[self._index(i)], window, value)

    def _read(self, i: int, window: Window) -> Tensor:
        return self._parent._read(self._indices[i], window)

    def _identity(self, i: int) -> str:
        return self._parent._identity(self._indices[i])
