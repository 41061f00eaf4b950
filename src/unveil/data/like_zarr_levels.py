"""A level of a pyramid: each of its pixels the mean of those of the level before that it covers, chunk by chunk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unveil.data.placed import as_type

__all__ = ["factors", "fill"]


def factors(
    larger: Sequence[int], smaller: Sequence[int], before: Mapping[str, Any], said: Mapping[str, Any]
) -> list[float]:
    """Return how many pixels of a level, of shape `larger`, one of the next, `smaller`, covers along each axis.

    before, said: what OME-Zarr's `datasets` say of the two: the ratio of their scales, where it fits the shapes; what
    is left at the end of an axis may then be covered in part or not at all. Otherwise the ratio of the sizes.
    """
    first, second = _scale(before), _scale(said)
    if not len(first) == len(second) == len(larger):
        first = second = [1.0] * len(larger)
    ratios = []
    for n, m, one, two in zip(larger, smaller, first, second):
        ratio = two / one if one > 0 and two > 0 else 1.0
        ratio = round(ratio) if math.isclose(ratio, round(ratio), rel_tol=1e-6) else ratio
        ratios.append(float(ratio) if ratio >= 1 and ratio * (m - 1) < n < ratio * (m + 1) else n / m)
    return ratios


def _scale(said: Mapping[str, Any]) -> list[float]:
    steps = said.get("coordinateTransformations")
    for step in steps if isinstance(steps, list) else []:
        scale = step.get("scale") if isinstance(step, dict) else None
        if isinstance(scale, list) and all(isinstance(s, int | float) for s in scale):
            return [float(s) for s in scale]
    return []


def fill(array: Any, before: Any, ratios: Sequence[float]) -> None:
    """Fill `array`, of zarr, with means of `before`; of integers, rounded. In memory: one chunk, and what it covers.

    ratios: pixels of `before` in one of `array`, along each axis.
    """
    sizes = array.shards or array.chunks
    for start in itertools.product(*(range(0, n, size) for n, size in zip(array.shape, sizes))):
        part = tuple(slice(a, min(a + size, n)) for a, size, n in zip(start, sizes, array.shape))
        edges = [_edges(s, f, n) for s, f, n in zip(part, ratios, before.shape)]
        values = np.asarray(before[tuple(slice(int(e[0]), int(e[-1])) for e in edges)])
        if any(f != 1 for f in ratios):
            values = values.astype(np.float64)
        for axis, (e, f) in enumerate(zip(edges, ratios)):
            if f != 1:
                shape = [-1 if k == axis else 1 for k in range(values.ndim)]
                starts, counts = np.minimum(e[:-1] - e[0], values.shape[axis] - 1), np.maximum(np.diff(e), 1)
                values = np.add.reduceat(values, starts, axis) / counts.reshape(shape)
        array[part] = as_type(values, array.dtype)[0]


def _edges(part: slice, ratio: float, n: int) -> np.ndarray:
    """Return where the pixels `part` of a level begin in the level before, of n pixels, and where the last one ends."""
    return np.minimum(np.floor(np.arange(part.start, part.stop + 1) * ratio + 1e-9).astype(int), n)
