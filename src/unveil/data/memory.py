"""Images that are already tensors: simulations, the demo's photographs, tests."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unveil.data.names import unique_stems
from unveil.data.source import ImageSource, Window
from unveil.errors import UnveilError

__all__ = ["MemorySource"]


class MemorySource(ImageSource):
    """The tensors of `images`, each (C, H, W) of one C, under their keys.

    `unique_stems` of `unveil.data.names` writes these.

    Raises UnveilError for no image, a tensor that is not a real floating-point (C, H, W), or channel counts
    that differ.
    """

    def __init__(self, images: Mapping[str, Tensor]) -> None:
        if not images:
            raise UnveilError("no image was given: pass at least one tensor of shape (C, H, W)")
        for name, x in images.items():
            if x.ndim != 3 or x.numel() == 0 or not x.is_floating_point():
                raise UnveilError(
                    f"{name} is a {x.dtype} tensor of shape {tuple(x.shape)}: pass floating point of shape (C, H, W)"
                )
        self._names = unique_stems(list(images))
        self._images = [x.detach().to("cpu", torch.float32) for x in images.values()]
        for name, x in zip(self._names, self._images):
            if len(x) != self.channels:
                raise UnveilError(
                    f"{name} has {len(x)} channels and {self._names[0]} has {self.channels}: "
                    "all images must have the same number"
                )

    @property
    def channels(self) -> int:
        return self._images[0].shape[0]

    def __len__(self) -> int:
        return len(self._images)

    def shape(self, i: int) -> tuple[int, int, int]:
        c, h, w = self._images[self._index(i)].shape
        return c, h, w

    def name(self, i: int) -> str:
        return self._names[self._index(i)]

    def _read(self, i: int, window: Window) -> Tensor:
        top, left, h, w = window
        return torch.from_numpy(self._images[i].numpy()[:, top : top + h, left : left + w].copy())
