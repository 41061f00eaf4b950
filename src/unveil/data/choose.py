"""Which array of a file that holds several (HDF5, zarr) are the images."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from unveil.errors import UnveilError, plain

__all__ = ["choose"]

_LISTED = 8


def choose(
    path: Path,
    dataset: str | None,
    found: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    closed: Mapping[str, str] | None = None,
) -> str:
    """Return the name of the images among `found` (name -> shape, dtype).

    That is `dataset`, or else the only candidate, or `kspace`.

    A candidate holds numbers and has at least two axes; files of fastMRI hold reconstructions beside what was measured,
    `kspace`. closed: what was not looked into, name -> why. Raises UnveilError, which lists the candidates, if there is
    not exactly one or if `dataset` is not in the file.
    """
    arrays = {name: dtype.kind for name, (shape, dtype) in found.items() if len(shape) >= 2 and dtype.kind in "biufc"}
    candidates = [name for name, kind in arrays.items() if kind != "b"] or list(
        arrays
    )  # a mask of true and false is no image
    listing = ", ".join(f"{_short(name)} {found[name][0]}" for name in candidates[:_LISTED])
    if len(candidates) > _LISTED:
        listing += f" and {len(candidates) - _LISTED} more"
    if dataset is not None:
        name = dataset.strip("/")
        if name in found:
            return name
        why = f"{path} has no dataset {_short(dataset)!r}"
        raise UnveilError(f"{why}: name one of {listing}" if listing else f"{why}, and no array of numbers at all")
    if not candidates:
        for reason in islice((closed or {}).values(), 1):
            raise UnveilError(reason)
        others = ", ".join(
            f"{_short(name)} {shape}, {_short(str(dtype))}" for name, (shape, dtype) in [*found.items()][:3]
        )
        raise UnveilError(
            f"{path} holds no array of numbers with at least two axes{f' (but {others})' if others else ''}: check "
            "that it is the right file"
        )
    if "kspace" in candidates:
        return "kspace"
    if len(candidates) > 1:
        raise UnveilError(
            f"{path} holds several arrays: say which, by --set data.dataset=NAME or, in Python, pass dataset=NAME; one "
            f"of {listing}"
        )
    return candidates[0]


def _short(name: str) -> str:
    """Return a name from a file, for a message of one line."""
    text = " ".join(plain(name).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
