"""What is looked at before a dataset of HDF5 is read: where its numbers lie, and whether they can be decoded here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from unveil.data.hdf5_tree import Place, Tree
from unveil.data.limits import check_size
from unveil.data.written import check_written
from unveil.errors import UnveilError

__all__ = ["check_dataset", "check_stored"]

_DEPTH = 8
"""Virtual datasets made of virtual datasets."""


def check_dataset(tree: Tree, place: Place, where: str, depth: int = _DEPTH) -> None:
    """Raise UnveilError unless the numbers of the dataset at `place` lie in the data's folder and can be decoded.

    where: of the dataset, for the messages.
    """
    dataset = tree[place]
    for name, *_ in dataset.external or ():
        tree.beside(place, name, f"the raw storage of {place.name}")
    if dataset.is_virtual:
        if depth == 0:
            raise UnveilError(f"{where} is made of virtual datasets within virtual datasets: copy the data into one")
        for file, name in sorted({(source.file_name, source.dset_name) for source in dataset.virtual_sources()}):
            _check_source(tree, place, file, name, where, depth)
        return
    if dataset.chunks is not None:
        check_size(f"a chunk of {where}", math.prod(dataset.chunks) * dataset.dtype.itemsize)
    _check_filters(dataset, where)


def check_stored(dataset: Any, where: str, axes: str) -> None:
    """Warn of chunks that were never written; raise UnveilError where an image has none.

    axes: of the dataset.
    """
    shape = tuple(dataset.shape)
    if dataset.is_virtual or dataset.external or 0 in shape:
        return
    if dataset.chunks is None:
        whole = [(0,) * len(shape)] if dataset.id.get_storage_size() else []
        check_written(where, shape, shape, axes, whole)
    elif dataset.id.get_num_chunks() < math.prod(math.ceil(n / size) for n, size in zip(shape, dataset.chunks)):
        check_written(where, shape, dataset.chunks, axes, _chunks(dataset))


def _chunks(dataset: Any) -> Iterator[tuple[int, ...]]:
    """Yield the place of each stored chunk among the chunks."""
    offsets: list[tuple[int, ...]] = []
    dataset.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
    return (tuple(i // size for i, size in zip(offset, dataset.chunks)) for offset in offsets)


def _check_source(tree: Tree, place: Place, file: str, name: str, where: str, depth: int) -> None:
    """Check a source of a virtual dataset; missing ones would be read as its fill value."""
    if "%" in file or "%" in name:
        raise UnveilError(
            f"{where} is virtual and names its parts by a pattern, {file}: copy the data into one dataset"
        )
    start = place if file == "." else Place(tree.beside(place, file, f"the virtual dataset {place.name}"), "/")
    source = tree.find("/" + name, start)
    if source is None:
        raise UnveilError(f"{where} is made of {file}:{name}, which is not there: put that dataset back")
    check_dataset(tree, source, where, depth - 1)


def _check_filters(dataset: Any, where: str) -> None:
    import h5py

    filters = dataset.id.get_create_plist()
    for k in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(k)
        if h5py.h5z.filter_avail(code):
            continue
        plugins = _load_plugins()
        if not h5py.h5z.filter_avail(code):
            what = f"{where} is compressed by the HDF5 filter {code} ({_text(name)})"
            if plugins:
                raise UnveilError(
                    f"{what}, which is not installed: write it again with gzip (h5repack -f GZIP=4 OLD NEW), where it "
                    "is"
                )
            raise UnveilError(f"{what}, which needs the package hdf5plugin: pip install hdf5plugin")


def _load_plugins() -> bool:
    """Return whether the package of filters is installed; importing it registers them."""
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        return False
    return True


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace").partition("\0")[0][:60] or "without a name"
