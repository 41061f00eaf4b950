"""UVFITS, the format of radio arrays: one observation a file, its visibilities whitened, as one complex row (1, M)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.source import ImageSource
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["EXTENSIONS", "is_uvfits", "observations", "scan"]

EXTENSIONS = (".uvfits", ".uvf")
_HEADER = 28_800
"""Bytes in which a primary header says what the file is."""


def is_uvfits(path: Path) -> bool:
    """Return whether the file `path` is UVFITS: by its extension, or of a .fits by its random groups."""
    if path.suffix.lower() in EXTENSIONS:
        return True
    if path.suffix.lower() != ".fits":
        return False
    try:
        with open(path, "rb") as file:
            return b"GROUPS  =                    T" in file.read(_HEADER)
    except OSError:  # opening it says so
        return False


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the visibilities of the file `path`, in jansky at the one level of its coverage.

    See `unveil.operators.whiten`.

    Raises UnveilError for axes other than HW, and where `astropy` is not installed.
    """
    if axes not in (None, "HW"):
        raise UnveilError(f"{path} holds one row of visibilities: leave axes out")
    array = _load(path)
    return [StoredArray(path, "", array.shape, array.dtype, "HW", partial(_load, path))]


def observations(source: ImageSource) -> list[Path]:
    """Return the UVFITS files that the measurements in `source` come from, each once.

    Empty where they come from other files.
    """
    files = dict.fromkeys(source.file(i) for i in range(len(source)))
    return [file for file in files if file is not None and is_uvfits(file)]


def _load(path: Path) -> Any:
    from unveil.instruments.interferometry.coverage import whiten  # they load late
    from unveil.instruments.interferometry.uvfits import read_uvfits

    coverage, visibilities = read_uvfits(path)
    real, imaginary = whiten(visibilities, coverage).numpy()
    return real + 1j * imaginary
