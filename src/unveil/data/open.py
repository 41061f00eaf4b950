"""From a path to images: the extension names the format; axes and value range have stated defaults."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from unveil.data.content import what_it_is
from unveil.data.faults import unreadable as fault
from unveil.data.formats import EXTENSIONS, LISTED, format_of
from unveil.data.source import ImageSource
from unveil.data.stored import StoredArray, StoredImages
from unveil.data.values import check_value_range
from unveil.errors import UnveilError, warn

__all__ = ["EXTENSIONS", "have_datasets", "open_images"]

_FETCH = "fetch what they point to (git annex get, datalad get), or mount the drive"


def open_images(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    axes: str | None = None,
    value_range: Sequence[float] | None = None,
    unreadable: Callable[[UnveilError], object] | None = None,
) -> ImageSource:
    """Return the images at `path`, opened without reading their pixels.

    path: one file (of an extension in `EXTENSIONS`), a .zarr folder, or a folder of these: in natural order (2 before
        10), not recursive, hidden files and other extensions skipped. Formats may be mixed and sizes may differ; the
        number of channels may not.
    dataset: the name inside HDF5, zarr or FITS; needed only when there is more than one candidate and none named
        kspace, or in FITS SCI. Of OME-Zarr by default level 0 of all images. Links, external storage and virtual
        datasets are followed within the data's folder.
    axes: one letter per axis of the stored array, of N (image; may repeat), C (channel), H, W, e.g. "NHW" or "HWC". By
        default PNG and JPEG are HW or HWC, TIFF and OME-Zarr follow their own metadata with each page (time, depth) an
        image, as do NIfTI, DICOM and FITS, and arrays (npy, HDF5, zarr, MRC) are HW, NHW, or NHWC / NCHW, whichever has
        1 to 4 channels (complex: NCHW with any number, the coils).
    value_range: (low, high) of the numbers, mapped to 0 and 1 without clipping: those that are stored, or that the
        slope and intercept of NIfTI, DICOM and FITS make of them. By default stored integers are divided by the largest
        of their type and all else passes unchanged.
    unreadable: told of each file of a folder that cannot be opened, and the others go on; None: the first such file
        raises.

    PNG, JPEG and TIFF are read as a viewer shows them: turned as their orientation says, with black at 0. Links to
    nothing in a folder are left out with one warning. Names (`ImageSource.name`) are the stems of files on every file
    system.
    Complex channels become twice as many: the real parts of all, then the imaginary parts of all.
    Raises UnveilError, one line that names the file and what to do, for a path, a file or an argument that cannot be
    used.
    """
    path = Path(path)
    limits = check_value_range(value_range)
    if _is_file(path) or _is_folder_of_one(path):
        files = [path]
    elif path.is_dir():
        files = _folder(path)
    elif path.is_symlink():
        raise UnveilError(f"{path} is a link to nothing: {_FETCH}")
    else:
        raise UnveilError(f"{path} does not exist: check the path")
    arrays: list[StoredArray] = []
    first: UnveilError | None = None
    for file in files:
        try:
            arrays += _scan(file, dataset, axes)
        except UnveilError as error:
            if unreadable is None:
                raise
            unreadable(error)
            first = first or error
    if first is not None and not arrays:
        raise first
    if not arrays:
        raise UnveilError(f"{path} holds no image that can be used: check that it is the right file or folder")
    return StoredImages(_in_order(arrays), limits)


def have_datasets(path: str | os.PathLike[str]) -> bool:
    """Return whether the file `path`, or any of those in the folder, has arrays with names: HDF5, zarr, FITS."""
    path = Path(path)
    files = [path] if _is_folder_of_one(path) or not path.is_dir() else path.glob("[!.]*")
    return any((form := format_of(file)) is not None and form.datasets for file in files)


def _in_order(arrays: list[StoredArray]) -> list[StoredArray]:
    """Return `arrays`, each once, those that have a place in the order of it, at the places that they had."""
    arrays = list({(a.path, a.inside): a for a in arrays}.values())
    placed = iter(sorted((a for a in arrays if a.place is not None), key=lambda a: a.place or ()))
    return [a if a.place is None else next(placed) for a in arrays]


def _folder(path: Path) -> list[Path]:
    try:
        entries = [p for p in path.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise UnveilError(f"{path} cannot be listed ({error.strerror}): check its permissions") from error
    if not entries:
        raise UnveilError(f"{path} is empty: put images there ({' '.join(LISTED)})")
    named = [p for p in entries if p.name.lower().endswith(LISTED) or _is_one(p)]
    dead = sorted((p for p in named if p.is_symlink() and not _is_file(p) and not p.exists()), key=_natural)
    files = [p for p in named if _is_file(p) or _is_folder_of_one(p)]
    if dead:
        which = (
            f"{len(dead)} of {len(dead) + len(files)} images in {path} are links to nothing, {dead[0].name} the first"
        )
        if not files:
            raise UnveilError(f"{which}: {_FETCH}")
        warn(f"{which}: they are left out; {_FETCH}")
    if not files:
        raise UnveilError(f"{path} holds no image at its top level: put files there that end in {' '.join(LISTED)}")
    return sorted(files, key=_natural)


def _is_one(path: Path) -> bool:
    """Return whether `path` is a file whose content tells a format that is listed."""
    form = format_of(path) if _is_file(path) else None
    return form is not None and form.listed


def _is_file(path: Path) -> bool:
    """Return whether `path` is a file, links followed.

    One that may not be looked at counts: opening it says so.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        return True
    except (OSError, ValueError):  # nothing there, links in a circle, a NUL in the name
        return False


def _is_folder_of_one(path: Path) -> bool:
    """Return whether `path` is a folder that is one measurement, as zarr's are."""
    return path.is_dir() and format_of(path) is not None


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Return a key to sort by in which numbers compare as numbers: frame2 before frame10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name.casefold())
    return [(0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts], path.name


def _scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    form = format_of(path)
    if dataset is not None and (form is None or not form.datasets):
        raise UnveilError(f"{path} has no datasets, which only HDF5, zarr and FITS have: leave dataset out")
    if form is None:
        raise UnveilError(f"{path} has an extension that is not known: use one of {' '.join(EXTENSIONS)}")
    try:
        return form.scan(path, dataset, axes) if form.datasets else form.scan(path, axes)
    except Exception as error:  # decoders raise whatever comes: OSError, ValueError, SyntaxError, struct.error
        what = what_it_is(path)
        if what is None and isinstance(error, UnveilError):
            raise
        raise (UnveilError(f"{path} cannot be read: it {what}") if what else fault(str(path), error)) from error
