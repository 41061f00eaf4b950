"""HDF5: a dataset is read window by window; HDF5's own small cache of chunks is the only one.

Files of MATLAB (-v7.3) are HDF5. Its arrays run the other way round, the rows last, and its complex numbers are
records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data import ismrmrd
from unveil.data.axes import default_axes
from unveil.data.choose import choose
from unveil.data.hdf5_check import check_dataset, check_stored
from unveil.data.hdf5_tree import Place, Tree, opened
from unveil.data.limits import check_count, check_size
from unveil.data.records import Records, number
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["EXTENSIONS", "mask_inside", "read", "scan"]

EXTENSIONS = (".h5", ".hdf5", ".hdf", ".nxs", ".mat")
_HDF4 = b"\x0e\x03\x13\x01"


def scan(path: Path, dataset: str | None, axes: str | None) -> list[StoredArray]:
    """Return the dataset `dataset` of the file `path`, or its only one; axes: as in `open_images`.

    Links are followed within the folder of the file. Raises UnveilError for a dataset that lies elsewhere, was not
    written, or needs a filter that is not installed.
    """
    _check_format(path)
    with Tree(path) as tree:
        if dataset in (None, ismrmrd.GROUP) and ismrmrd.is_ismrmrd(tree):
            return ismrmrd.scan(path, axes)
        name, place = _choose(tree, dataset)
        found, where = tree[place], f"{path}:{name}"
        shape, dtype = _numbers(found, where)
        check_dataset(tree, place, where)
        if axes is None:
            axes = default_axes(shape, dtype, where)
            if "MATLAB_class" in found.attrs:
                axes = axes.translate(str.maketrans("HW", "WH"))
        stored = StoredArray(path, name, shape, dtype, axes, partial(_load, place))
        check_count(where, stored.images)
        check_size(f"an image of {where}", math.prod(stored.image_shape) * dtype.itemsize)
        check_stored(found, where, stored.axes)
    return [stored]


def mask_inside(path: str) -> tuple[str, str] | None:
    """Return (FILE:mask, a line on it) of the mask that the file of k-space `path` tells; None where it does not.

    fastMRI keeps it beside k-space; of readouts of ISMRMRD it is what they filled.
    """
    if Path(path).suffix.lower() not in EXTENSIONS or not Path(path).is_file():
        return None
    mask = f"{path}:mask"
    try:
        with Tree(Path(path)) as tree:
            if ismrmrd.is_ismrmrd(tree):
                raw = ismrmrd.open_raw(Path(path))
                noise = f"; --set noise.kind=correlated --set noise.covariance={path}:noise states its noise scan"
                line = f"operator.mask is {mask}, what was acquired: {raw}"
                return mask, line + (noise if len(raw.noise) else "")
            if tree.find("mask") is not None:
                return mask, f"operator.mask is {mask}, in the file of the measurements"
    except Exception:  # of damaged files anything: opening the measurements says it
        pass
    return None


def read(path: Path, dataset: str | None, usual: Sequence[str]) -> np.ndarray:
    """Return the whole of a small array in the file `path`.

    That is `dataset`, or else the first of `usual` that it has, or its only one.

    An array of MATLAB has its rows and columns exchanged, as has one image of it. Raises UnveilError where `scan` does.
    """
    _check_format(path)
    with Tree(path) as tree:
        if ismrmrd.is_ismrmrd(tree):
            return ismrmrd.read(path, dataset or (*usual, "noise")[0])
        if dataset is None:
            have = dict(tree.datasets())
            named = {name.rpartition("/")[2].lower(): name for name in reversed(have)}
            dataset = next((named[name] for name in usual if name in named), None)
            if dataset is None and len(have) > 1:
                listing = ", ".join(sorted(have)[:8])
                raise UnveilError(f"{path} holds several arrays: add the name, {path}:NAME, of one ({listing})")
        name, place = _choose(tree, dataset)
        found, where = tree[place], f"{path}:{name}"
        _numbers(found, where)
        check_dataset(tree, place, where)
        check_size(where, math.prod(found.shape) * found.dtype.itemsize)
        array = np.asarray(_complex(found)[()])
        if "MATLAB_class" in found.attrs and array.ndim > 1:
            array = array.swapaxes(-2, -1)
            return array.reshape(-1) if array.ndim == 2 and 1 in array.shape else array  # it has no vectors
        return array


def _choose(tree: Tree, dataset: str | None) -> tuple[str, Place]:
    import h5py

    place = None if dataset is None else tree.find(dataset.strip("/"))
    if dataset is not None and place is not None and isinstance(tree[place], h5py.Dataset):
        return dataset.strip("/"), place
    places = dict(sorted(tree.datasets()))
    found = {}
    for name, place in places.items():
        with suppress(UnveilError):
            found[name] = _numbers(tree[place], name)
    name = choose(tree.path, dataset, found, tree.closed)
    return name, places[name]


def _numbers(dataset: Any, where: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return (shape, type) of the dataset.

    Raises UnveilError where it is empty, or NumPy has no such type.
    """
    try:
        if dataset.shape is not None and "MATLAB_empty" not in dataset.attrs:
            return tuple(dataset.shape), number(dataset.dtype)
    except TypeError:
        raise UnveilError(
            f"{where} holds a type that is no number: store integers, floating point or complex"
        ) from None
    raise UnveilError(f"{where} is empty: name another dataset, or measure again")


def _check_format(path: Path) -> None:
    """Raise UnveilError for older formats of the same extensions."""
    with open(path, "rb") as file:
        start = file.read(128)
    if start.startswith(_HDF4):
        raise UnveilError(f"{path} is HDF4, not HDF5: convert it with h4toh5, or save it as HDF5")
    if path.suffix.lower() == ".mat":
        import h5py

        if not h5py.is_hdf5(path):
            raise UnveilError(
                f"{path} is not HDF5, as MATLAB's files before version 7.3: save it again, in MATLAB by "
                "save('NAME.mat', 'VARIABLE', '-v7.3'), or in Python as .npy"
            )


def _load(place: Place) -> Any:
    import h5py

    file = h5py.File(place.file, "r")  # HDF5 keeps it open for as long as the dataset is in use
    return _complex(opened(file, place.name))


def _complex(dataset: Any) -> Any:
    return Records(dataset) if number(dataset.dtype) != dataset.dtype else dataset
