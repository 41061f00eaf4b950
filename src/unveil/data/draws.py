"""One draw for each image of a source, streamed to zarr: a training set that is larger than memory and can be resumed.

A group with one float32 array (C, H, W) an image, in chunks of windows, not compressed: draws hold noise, which does
not compress, and training reads many small windows. An array counts once its attribute `complete` is set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.data.source import ImageSource, Window
from unveil.errors import UnveilError

__all__ = ["DrawStore"]

CHUNK = 256


class DrawStore(ImageSource):
    """Images of the shapes and names of `like`, in the zarr group `path`, written one by one.

    Raises UnveilError when the group cannot be made, a draw of another shape is written, or one that was not
    written is read.
    """

    def __init__(self, path: str | os.PathLike[str], like: ImageSource) -> None:
        import zarr

        self.path = Path(path)
        self._like = like
        try:
            self._group = zarr.open_group(self.path, mode="a")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnveilError(
                f"{self.path}: cannot hold draws ({error}); remove it, or choose another folder"
            ) from None
        self._arrays: dict[int, Any] = {}

    @property
    def channels(self) -> int:
        return self._like.channels

    def __len__(self) -> int:
        return len(self._like)

    def shape(self, i: int) -> tuple[int, int, int]:
        return self._like.shape(i)

    def name(self, i: int) -> str:
        return self._like.name(i)

    def where(self, i: int) -> str:
        return f"{self.path} ({self.name(i)})"

    def has(self, i: int) -> bool:
        """Return whether draw i has been written whole."""
        return self._key(i) in self._group and bool(self._group[self._key(i)].attrs.get("complete", False))

    def write(self, i: int, x: Tensor) -> None:
        """Store draw i, x (C, H, W)."""
        if tuple(x.shape) != self.shape(i):
            raise UnveilError(f"{self.where(i)}: a draw of shape {tuple(x.shape)} for an image of {self.shape(i)}")
        channels, height, width = x.shape
        try:
            array = self._group.create_array(
                self._key(i),
                shape=x.shape,
                chunks=(channels, min(height, CHUNK), min(width, CHUNK)),
                dtype="float32",
                compressors=None,
                overwrite=True,
            )
            array[...] = x.detach().to("cpu", torch.float32).numpy()
            array.attrs["complete"] = True
        except OSError as error:
            raise UnveilError(
                f"{self.path}: cannot write ({error.strerror or error}); free space, then resume"
            ) from None
        self._arrays.pop(i, None)

    def _read(self, i: int, window: Window) -> Tensor:
        if i not in self._arrays:
            if not self.has(i):
                raise UnveilError(f"{self.where(i)}: not drawn yet; resume the run")
            self._arrays[i] = self._group[self._key(i)]
        top, left, h, w = window
        return torch.from_numpy(self._arrays[i][:, top : top + h, left : left + w].copy())

    def _key(self, i: int) -> str:
        return f"{self._index(i):06d}"
