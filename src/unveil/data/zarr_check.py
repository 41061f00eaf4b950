"""What the metadata of a zarr array must say before zarr opens it.

Sizes that are numbers, and codecs that only decode numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from unveil.data.limits import check_size
from unveil.data.zarr_tree import Node
from unveil.errors import UnveilError

__all__ = ["check_array", "chunk_shape", "shape"]

CODECS = frozenset(
    (
        "blosc",
        "zlib",
        "gzip",
        "zstd",
        "lz4",
        "bz2",
        "lzma",
        "delta",
        "fixedscaleoffset",
        "quantize",
        "bitround",
        "shuffle",
        "astype",
        "packbits",
        "crc32",
        "crc32c",
        "adler32",
        "fletcher32",
        "jenkins_lookup3",
        "zfpy",
        "pcodec",
        "bytes",
        "endian",
        "transpose",
        "sharding_indexed",
    )
)
"""Those that turn bytes into numbers; the names of zarr 3 may begin with numcodecs.

Others, as pickle, may run what they decode.
"""
_DEPTH = 4
"""Of shards in shards."""
_ADVICE = "copy or write the array again"


def check_array(node: Node, itemsize: int) -> None:
    """Raise UnveilError for codecs that are not in CODECS, and for chunks of more bytes than the limit.

    itemsize: bytes of a number.
    """
    array = node.array or {}
    if node.format == 2:
        codecs = [array.get("compressor"), *_list(array.get("filters"), node)]
        names = [_name(codec, "id", node) for codec in codecs if codec is not None]
        sizes = [chunk_shape(node)]
    else:
        names, sizes = [], []
        for name, size in _codecs(_list(array.get("codecs"), node), chunk_shape(node), node, _DEPTH):
            names.append(name)
            sizes.append(size)
    for name in names:
        if name.removeprefix("numcodecs.") not in CODECS:
            raise UnveilError(
                f"{node.where} uses the codec {name[:60]!r}, which is not among those that only decode numbers: write "
                "it again with blosc, zstd or gzip"
            )
    check_size(f"a chunk of {node.where}", math.prod(sizes[-1] if sizes else chunk_shape(node)) * itemsize)


def shape(node: Node) -> tuple[int, ...]:
    """Return the shape of the array.

    Raises UnveilError where the metadata tell none.
    """
    return _integers((node.array or {}).get("shape"), 0, "shape", node)


def chunk_shape(node: Node) -> tuple[int, ...]:
    """Return the shape of what one file holds.

    Raises UnveilError where the metadata tell none.
    """
    array = node.array or {}
    if node.format == 2:
        sizes = array.get("chunks")
    else:
        grid = array.get("chunk_grid")
        settings = grid.get("configuration") if isinstance(grid, dict) and grid.get("name") == "regular" else None
        sizes = settings.get("chunk_shape") if isinstance(settings, dict) else None
    found = _integers(sizes, 1, "the shape of its chunks", node)
    if len(found) != len(shape(node)):
        raise UnveilError(f"{node.where} has {len(shape(node))} axes and its chunks {len(found)}: {_ADVICE}")
    return found


def _codecs(codecs: list[Any], size: tuple[int, ...], node: Node, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield all codecs by name, those within shards included, and the shape of what each decodes at once."""
    if depth == 0:
        raise UnveilError(f"{node.where} has shards in shards in shards: {_ADVICE}")
    for codec in codecs:
        name = codec if isinstance(codec, str) else _name(codec, "name", node)
        yield name, size
        if name == "sharding_indexed":
            settings = codec.get("configuration") if isinstance(codec, dict) else None
            if not isinstance(settings, dict):
                raise UnveilError(f"{node.where} has shards without a configuration: {_ADVICE}")
            for name, _ in _codecs(_list(settings.get("index_codecs"), node), size, node, depth - 1):
                yield name, size
            inner = _integers(settings.get("chunk_shape"), 1, "the shape of the chunks in its shards", node)
            yield from _codecs(_list(settings.get("codecs"), node), inner, node, depth - 1)


def _list(value: Any, node: Node) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 100:
        raise UnveilError(f"{node.where} has codecs that are no list: {_ADVICE}")
    return value


def _name(codec: Any, key: str, node: Node) -> str:
    name = codec.get(key) if isinstance(codec, dict) else None
    if not isinstance(name, str):
        raise UnveilError(f"{node.where} has a codec without a name: {_ADVICE}")
    return name


def _integers(value: Any, least: int, what: str, node: Node) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and n >= least for n in value) or len(value) > 32:
        raise UnveilError(f"{node.where} does not say {what} in whole numbers >= {least}: {_ADVICE}")
    return tuple(value)
