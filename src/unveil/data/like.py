"""Results that are like their input: one file for one file, with its axes, pixel size, units and resolution.

TIFF gives TIFF (of ImageJ and OME theirs), MRC gives MRC, NPY gives NPY, UVFITS a FITS image. Anything else, complex
numbers, and images on another grid than their measurements give TIFF: an image, or a page for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data import like_fits, like_mrc, like_tiff
from unveil.data.atomic import atomic_write, reserve
from unveil.data.names import unique_stems
from unveil.data.source import ImageSource, Origin

__all__ = ["Target", "as_type", "result_files", "write_like"]

_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Target:
    """A file of results: those of the images `images` of a source, which all lie in one file.

    stem, suffix: its name, unique among the targets of a source even where case does not count. pattern: the file to be
    like; None: an ordinary TIFF. sky: of a FITS image.
    """

    stem: str
    suffix: str
    images: tuple[int, ...]
    pattern: Origin | None
    sky: like_fits.Sky | None = None

    @property
    def is_stack(self) -> bool:
        return len(self.images) > 1


def result_files(source: ImageSource, same_grid: bool, sky: like_fits.Sky | None = None) -> list[Target]:
    """Return a target for each file of `source`, in order.

    same_grid: a result has the pixels of its measurement. sky: what it stands for, where it is an image of the sky;
    UVFITS then gives FITS.
    """
    groups: dict[object, list[int]] = {}
    for i in range(len(source)):
        origin = source.origin(i)
        groups.setdefault(i if origin is None else origin.path, []).append(i)
    names = [source.name(images[0]) for images in groups.values()]
    stems = unique_stems(  # the images of a stack are NAME_0000, NAME_0001, ...
        [name.rsplit("_", 1)[0] if len(images) > 1 else name for name, images in zip(names, groups.values())]
    )
    targets = []
    for stem, images in zip(stems, groups.values()):
        origin = source.origin(images[0])
        if sky is not None and origin is not None and origin.path.suffix.lower() in like_fits.EXTENSIONS:
            targets.append(Target(stem, ".fits", tuple(images), origin, sky))
            continue
        suffix = ".tif" if origin is None or origin.dtype.kind == "c" else _suffix(origin.path, same_grid)
        likely = origin is not None and (suffix != ".tif" or (same_grid and origin.path.suffix.lower() in _TIFF))
        targets.append(Target(stem, suffix, tuple(images), origin if likely else None))
    return targets


def _suffix(path: Path, same_grid: bool) -> str:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return ".npy"
    if suffix in like_mrc.EXTENSIONS and same_grid:
        return ".mrcs" if suffix == ".mrcs" else ".mrc"
    return ".tif"


def write_like(
    path: Path, target: Target, shapes: Sequence[tuple[int, ...]], images: Iterable[np.ndarray], dtype: np.dtype
) -> None:
    """Write `images`, one after the other, to `path`: whole or not at all.

    Each is (C, H, W) as `shapes` say and of type `dtype`.

    Raises UnveilError where the file cannot be written.
    """
    atomic_write(path, lambda temporary: _write(temporary, target, shapes, images, dtype))


def _write(
    path: Path, target: Target, shapes: Sequence[tuple[int, ...]], images: Iterable[np.ndarray], dtype: np.dtype
) -> None:
    if len(set(shapes)) > 1:  # pages of different sizes
        like_tiff.write_pages(path, images)
        return
    with _create(path, target, shapes[0], dtype) as (array, axes):
        for k, x in enumerate(images):
            place(array, axes, k, x)


def _create(
    path: Path, target: Target, shape: tuple[int, ...], dtype: np.dtype
) -> AbstractContextManager[tuple[Any, str]]:
    pattern, count = target.pattern, len(target.images)
    if pattern is not None and target.sky is not None:
        return like_fits.create(path, pattern, target.sky, shape)
    if pattern is not None and target.suffix == ".npy":
        return _npy(path, pattern, shape, dtype)
    if pattern is not None and target.suffix != ".tif":
        return like_mrc.create(path, pattern, dtype)
    return like_tiff.create(path, None if pattern is None else pattern.path, count, shape, dtype)


@contextmanager
def _npy(path: Path, pattern: Origin, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[tuple[np.ndarray, str]]:
    sizes = dict(zip("CHW", shape))
    axes, own = pattern.axes, dict(zip(pattern.axes, pattern.shape))
    if any(own.get(a, 1) != n for a, n in sizes.items()):  # an image of another shape than its measurement
        axes = "N" * pattern.axes.count("N") + ("CHW" if sizes["C"] > 1 else "HW")
    stack = (n for n, a in zip(pattern.shape, pattern.axes) if a == "N")
    full = tuple(next(stack) if a == "N" else sizes[a] for a in axes)
    array = np.lib.format.open_memmap(path, "w+", dtype, full)
    reserve(path)
    yield array, axes
    array.flush()


def place(array: Any, axes: str, k: int, x: np.ndarray) -> None:
    """Put the image x (C, H, W) at the k-th place of `array`, whose axes are letters of N, C, H, W."""
    stack = tuple(n for n, a in zip(array.shape, axes) if a == "N")
    where = iter(np.unravel_index(k, stack) if stack else ())
    kept = axes.replace("N", "")
    if "C" not in kept:
        x = x[0]
    letters = "CHW" if "C" in kept else "HW"
    index = tuple(int(next(where)) if a == "N" else slice(None) for a in axes)
    array[index] = x.transpose([letters.index(a) for a in kept])


def as_type(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Return (`values` as `dtype`, how many were clipped).

    Integers are rounded, and held within the range of the type.
    """
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False), 0
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    rounded = np.rint(values.astype(np.float64))
    above = rounded >= high  # which a float may not represent exactly
    out = np.where(above, 0, rounded.clip(min=low)).astype(dtype)
    out[above] = high
    return out, int(((rounded < low) | (rounded > high)).sum())
