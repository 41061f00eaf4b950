"""The entries of an ISMRMRD file as they are stored, looked at before HDF5 follows what they refer to.

An entry holds a head and, of each list, its length, the address of a heap of the file and a number in that (HDF5 File
Format 3.0, VIII.C and III.E). HDF5 believes all of them: a length or a heap that is damaged makes it allocate and
search for minutes, even where only heads are wanted. So entries are taken from their chunks, and the heaps are read
here before `h5py` reads lists.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unveil.data.limits import check_size
from unveil.errors import UnveilError

__all__ = ["read_heads"]

_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_HEAP = np.dtype([("signature", "S4"), ("version", "u1"), ("reserved", "V3"), ("size", "<u8")])
_OBJECT = np.dtype([("index", "<u2"), ("count", "<u2"), ("reserved", "V4"), ("size", "<u8")])
_ITEM = 4
"""Bytes of a number of a list."""


def read_heads(path: Path, dataset: Any) -> np.ndarray:
    """Return the heads of all entries of `dataset`, a structured array (N,).

    Raises UnveilError where a chunk, a list or the heap that it lies in is not in the file.
    """
    entry = dataset.id.get_type()
    names = [entry.get_member_name(k).decode() for k in range(entry.get_nmembers())]
    size, head = entry.get_size(), dataset.dtype["head"]
    sizes = [entry.get_member_type(k).get_size() for k in range(len(names))]
    lists = [k for k, name in enumerate(names) if name != "head"]
    plain = dataset.chunks is not None and not dataset.id.get_create_plist().get_nfilters()
    if not plain or any(sizes[k] != _REFERENCE.itemsize for k in lists) or sizes[names.index("head")] != head.itemsize:
        heads: np.ndarray = dataset.fields("head")[...]  # stored in another way, which HDF5 alone can read
        return heads
    check_size(f"the heads of {path}", len(dataset) * size)
    raw = _entries(path, dataset, size)
    with open(path, "rb") as file:
        heaps: dict[int, dict[int, int]] = {}
        for k in lists:
            found = _part(raw, entry.get_member_offset(k), _REFERENCE)
            for length, address, index in found[found["length"] > 0].tolist():
                if address not in heaps:
                    heaps[address] = _heap(path, file, address + dataset.file.userblock_size)
                if heaps[address].get(index, 0) < _ITEM * length:
                    raise _damaged(path)
    return _part(raw, entry.get_member_offset(names.index("head")), head)


def _entries(path: Path, dataset: Any, size: int) -> np.ndarray:
    """Return all entries as bytes (N, size), 0 where a chunk was never written."""
    found: list[Any] = []
    (many,), end = dataset.chunks, path.stat().st_size
    dataset.id.chunk_iter(found.append)
    raw = np.zeros((-(-len(dataset) // many) * many, size), np.uint8)
    for chunk in found:
        (first,) = chunk.chunk_offset
        if chunk.byte_offset + chunk.size > end or chunk.size != many * size or first + many > len(raw):
            raise _damaged(path)
        content = dataset.id.read_direct_chunk(chunk.chunk_offset)[1]
        raw[first : first + many] = np.frombuffer(content, np.uint8).reshape(many, size)
    return raw[: len(dataset)]


def _part(raw: np.ndarray, offset: int, dtype: np.dtype) -> np.ndarray:
    """Return the part of all entries at `offset`, (N,)."""
    return np.ascontiguousarray(raw[:, offset : offset + dtype.itemsize]).view(dtype)[:, 0]


def _heap(path: Path, file: BinaryIO, address: int) -> dict[int, int]:
    """Return the objects of the heap at `address`, number -> bytes. Raises UnveilError where there is none."""
    end = os.fstat(file.fileno()).st_size
    if address + _HEAP.itemsize > end:
        raise _damaged(path)
    file.seek(address)
    head = np.frombuffer(file.read(_HEAP.itemsize), _HEAP)[0]
    size = int(head["size"])
    if head["signature"] != b"GCOL" or head["version"] != 1 or not _HEAP.itemsize <= size <= end - address:
        raise _damaged(path)
    content, at, objects = file.read(size - _HEAP.itemsize), 0, {}
    while at + _OBJECT.itemsize <= len(content):
        found = np.frombuffer(content, _OBJECT, 1, at)[0]
        index, length = int(found["index"]), int(found["size"])
        if index == 0:  # what is free, this header too: all that follows
            if at + length != len(content):
                raise _damaged(path)
            break
        at += _OBJECT.itemsize + -(-length // 8) * 8
        if at > len(content) or index in objects:
            raise _damaged(path)
        objects[index] = length
    return objects


def _damaged(path: Path) -> UnveilError:
    return UnveilError(f"{path} has readouts whose samples are not in the file: it is damaged; restore it")
