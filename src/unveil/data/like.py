"""Results that are like their input: one file for one file, with its axes, pixel size, units and resolution.

TIFF gives TIFF (of ImageJ and OME theirs), files of microscopes OME-TIFF, zarr gives zarr (OME-Zarr its pyramids), MRC
gives MRC, NPY gives NPY, NIfTI, DICOM and FITS give theirs, UVFITS a FITS image. Anything else, complex numbers, and
images on another grid than their measurements give TIFF: an image, or a page for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data import (
    dicom,
    fits,
    like_dicom,
    like_fits,
    like_fits_image,
    like_mrc,
    like_nifti,
    like_ome,
    like_tiff,
    like_zarr,
    microscopy,
    nifti,
)
from unveil.data.atomic import atomic_write, reserve
from unveil.data.formats import format_of
from unveil.data.made import Made
from unveil.data.names import unique_stems
from unveil.data.placed import as_type, place
from unveil.data.source import ImageSource, Origin
from unveil.data.uvfits import is_uvfits

__all__ = ["Target", "as_type", "result_files", "write_like"]

_TIFF = (".tif", ".tiff")
_SEVERAL = {like_zarr.SUFFIX: like_zarr.write, like_ome.SUFFIX: like_ome.write}
"""Of files that hold several arrays of images."""


@dataclass(frozen=True)
class Target:
    """A file of results: those of the images `images` of a source, which all lie in one file.

    stem, suffix: its name, unique among the targets of a source even where case does not count. pattern: the file to be
    like; None: an ordinary TIFF. sky: of a FITS image. parts: the arrays that hold the images, in order.
    """

    stem: str
    suffix: str
    images: tuple[int, ...]
    pattern: Origin | None
    sky: like_fits.Sky | None = None
    parts: tuple[Origin, ...] = ()

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
        if sky is not None and origin is not None and is_uvfits(origin.path):
            targets.append(Target(stem, ".fits", tuple(images), origin, sky=sky))
            continue
        parts = tuple(dict.fromkeys(o for o in map(source.origin, images) if o is not None))
        whole = sum(part.images for part in parts) == len(images)
        suffix = ".tif" if origin is None or origin.dtype.kind == "c" else _suffix(parts, same_grid, whole)
        likely = origin is not None and (suffix != ".tif" or (same_grid and origin.path.suffix.lower() in _TIFF))
        targets.append(Target(stem, suffix, tuple(images), origin if likely else None, parts=parts))
    return targets


def _suffix(parts: Sequence[Origin], same_grid: bool, whole: bool) -> str:
    """Return the extension of results.

    parts: the arrays of one file that hold the images. same_grid: as in `result_files`. whole: all of their images are
    asked for.
    """
    path = parts[0].path
    suffix, form = path.suffix.lower(), format_of(path)
    if suffix == ".npy":
        return ".npy"
    if not same_grid or form is None:
        return ".tif"
    if path.is_dir():
        return like_zarr.SUFFIX if whole else ".tif"
    if suffix in microscopy.EXTENSIONS:
        return like_ome.SUFFIX if whole else ".tif"
    if suffix in like_mrc.EXTENSIONS:
        return ".mrcs" if suffix == ".mrcs" else ".mrc"
    if form.extensions == nifti.EXTENSIONS:
        return ".nii.gz" if suffix == ".gz" else ".nii"
    if form.extensions == dicom.EXTENSIONS:
        return ".dcm"
    alike = len({(part.shape, part.axes, part.dtype, part.scale) for part in parts}) == 1
    return ".fits" if form.extensions == fits.EXTENSIONS and alike else ".tif"


def write_like(
    path: Path,
    target: Target,
    shapes: Sequence[tuple[int, ...]],
    images: Iterable[np.ndarray],
    dtype: np.dtype,
    made: Made | None = None,
) -> None:
    """Write `images`, one after the other, to `path`: whole or not at all.

    Each is (C, H, W) as `shapes` say and of type `dtype`. made: what made them, for headers that have a place for it.

    Raises UnveilError where the file cannot be written.
    """
    atomic_write(path, lambda temporary: _write(temporary, target, shapes, images, dtype, made or Made()))


def _write(
    path: Path,
    target: Target,
    shapes: Sequence[tuple[int, ...]],
    images: Iterable[np.ndarray],
    dtype: np.dtype,
    made: Made,
) -> None:
    if target.suffix in _SEVERAL:
        _SEVERAL[target.suffix](path, target.parts, images, dtype)
        return
    pattern = target.pattern if target.suffix == ".tif" else None
    if pattern is not None and like_tiff.write_series(path, pattern.path, shapes, images, dtype):
        return
    if len(set(shapes)) > 1:  # pages of different sizes
        like_tiff.write_pages(path, images)
        return
    with _create(path, target, shapes[0], dtype, made) as (array, axes):
        for k, x in enumerate(images):
            place(array, axes, k, x)


def _create(
    path: Path, target: Target, shape: tuple[int, ...], dtype: np.dtype, made: Made
) -> AbstractContextManager[tuple[Any, str]]:
    pattern, count = target.pattern, len(target.images)
    if pattern is not None and target.sky is not None:
        return like_fits.create(path, pattern, target.sky, shape)
    if pattern is not None and target.suffix == ".npy":
        return _npy(path, pattern, shape, dtype)
    if pattern is not None and target.suffix in (".nii", ".nii.gz"):
        return like_nifti.create(path, pattern, dtype)
    if pattern is not None and target.suffix == ".dcm":
        return like_dicom.create(path, pattern, dtype, made)
    if pattern is not None and target.suffix == ".fits":
        return like_fits_image.create(path, pattern, [part.inside for part in target.parts], dtype, made)
    if pattern is not None and target.suffix != ".tif":
        return like_mrc.create(path, pattern, dtype, made)
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
