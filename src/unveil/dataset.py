"""Measurements on disk or in memory, all by one instrument."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from unveil.data import ImageSource
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise.base import Noise
from unveil.operators.base import Operator

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """y_0, ..., y_N-1 of `source`, in the order of their operators and of their noise where each has its own.

    NaN in a source with gaps (`ImageSource.gaps`) is an entry that was not measured. Raises UnveilError where the noise
    has maps, and an image is not of their size.
    """

    source: ImageSource
    operator: Operator
    noise: Noise

    def __post_init__(self) -> None:
        for i in range(len(self.source)) if self.noise.mapped else ():
            if self.source.shape(i)[1:] != self.noise.size:
                (h, w), (height, width) = self.source.shape(i)[1:], self.noise.size or (0, 0)
                raise UnveilError(
                    f"{self.source.where(i)} has {h}x{w} pixels, and the maps of its noise have {height}x{width}: give "
                    "maps of these pixels, cropped as the image is"
                )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Measurement:
        """Return measurement number i, a batch of one."""
        return self.batch(torch.tensor([i]))

    def batch(self, which: Tensor) -> Measurement:
        """Return the measurements numbered `which` (B,), of one shape."""
        y = torch.stack([self.source.read(i) for i in which.tolist()])
        return Measurement.with_gaps(y, self.operator.select(which), self.noise.select(which))

    def window(self, i: int, box: tuple[int, int, int, int]) -> Measurement | None:
        """Return a window (top, left, height, width) of measurement number i; None where it has none."""
        which = torch.tensor([i])
        seen = self.operator.select(which).window(box)
        if seen is None:
            return None
        return Measurement.with_gaps(self.source.read(i, box)[None], seen, self.noise.select(which).window(box))

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the measurements `indices`, in that order."""
        which = torch.as_tensor(list(indices), dtype=torch.long)
        return replace(
            self,
            source=self.source.subset(indices),
            operator=self.operator.select(which),
            noise=self.noise.select(which),
        )

    def of(self, source: ImageSource) -> Self:
        """Return other data by the same instrument."""
        return replace(self, source=source)
