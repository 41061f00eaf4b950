"""MRC, the format of electron microscopy: a micrograph, or a stack of particles, in a memory map.

Modes 0 (int8), 1 (int16), 2 (float32), 6 (uint16) and 12 (float16), and 4 (complex64); a third axis counts images, whether the file
calls itself a stack or a volume (Cheng et al. 2015, https://doi.org/10.1016/j.jsb.2015.04.002). Integers are counts as a rule, far
below the largest of their type, by which they are divided unless a `value_range` says otherwise.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["scan"]


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """The array of the file `path`; axes: as in `open_images`. Raises UnveilError where `mrcfile` is not installed."""
    array = _load(path)
    own = "NNHW"[-array.ndim :]  # four axes are a stack of volumes, two a micrograph or a stack of one
    if axes is None or axes.upper().replace("N", "") == own:
        axes = own
    return [StoredArray(path, "", array.shape, array.dtype, axes, partial(_load, path))]


def _load(path: Path) -> Any:
    try:
        import mrcfile
    except ImportError:
        raise UnveilError(f"{path} needs the mrcfile package: pip install 'unveil[cryoem]'") from None

    with mrcfile.mmap(path, mode="r") as file:
        return file.data  # the map outlives the file object
