"""Which array of a file that holds several (HDF5, zarr) are the images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unveil.errors import UnveilError

__all__ = ["choose"]


def choose(path: Path, dataset: str | None, found: Mapping[str, tuple[tuple[int, ...], np.dtype]]) -> str:
    """The name of the images among `found` (name -> shape, dtype): `dataset`, or else the only candidate, or `kspace`.

    A candidate holds numbers and has at least two axes; files of fastMRI hold reconstructions beside what was measured,
    `kspace`. Raises UnveilError, which lists the candidates, if there is not exactly one or if `dataset` is not in the file.
    """
    candidates = [name for name, (shape, dtype) in found.items() if len(shape) >= 2 and dtype.kind in "biufc"]
    listing = ", ".join(f"{name} {found[name][0]}" for name in candidates[:20])
    if len(candidates) > 20:
        listing += f" and {len(candidates) - 20} more"
    if dataset is not None:
        name = dataset.strip("/")
        if name in found:
            return name
        raise UnveilError(
            f"{path} has no dataset {dataset!r}; {'candidates: ' + listing if listing else 'it has none'}"
        )
    if not candidates:
        raise UnveilError(f"{path} holds no array of numbers with at least two axes: check that it is the right file")
    if "kspace" in candidates:
        return "kspace"
    if len(candidates) > 1:
        raise UnveilError(f"{path} holds several arrays: pass dataset, one of {listing}")
    return candidates[0]
