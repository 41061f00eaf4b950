"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), the format of neuroimaging: a volume or a series of them, as its slices.

Voxels are (i, j, k, t, ...), i the fastest (https://nifti.nimh.nih.gov/nifti-1, R. Cox et al. 2004). An image is the
plane of i and j as it is stored, column i and row j; k, t and further axes count images. Nothing is turned: which way i
and j point in the body is in the header's affine, which results keep. Of a file in the usual orientation, RAS, the
first row is the back of the head, and viewers that turn images show it below.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

from unveil.data.dicom import is_magnitude
from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["EXTENSIONS", "open_image", "scan"]

EXTENSIONS = (".nii", ".nii.gz")


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the array of the file `path`; axes: as in `open_images`, of (i, j, k, ...).

    Numbers are what the header's scl_slope and scl_inter make of them. Raises UnveilError where `nibabel` is not
    installed, and for a header that is not true of the file.
    """
    proxy = open_image(path).dataobj
    shape, dtype = tuple(proxy.shape), proxy.dtype
    if len(shape) < 2:
        raise UnveilError(f"{path}: an array of shape {shape} is no image: it needs rows and columns")
    scale = None if (proxy.slope, proxy.inter) == (1, 0) else (float(proxy.slope), float(proxy.inter))
    own = "WH" + "N" * (len(shape) - 2)
    stored = StoredArray(
        path, "", shape, dtype, axes or own, partial(_load, path), scale=scale, magnitude=_is_magnitude(path)
    )
    check_count(str(path), stored.images)
    size = math.prod(shape) * dtype.itemsize
    if path.suffix.lower() == ".gz":  # no part of it can be decoded alone
        check_size(str(path), size, path.stat().st_size)
    elif size > path.stat().st_size:
        raise UnveilError(
            f"{path} cannot be read (its header declares {size:,} bytes of voxels and the file has "
            f"{path.stat().st_size:,}): it was cut or is still being written; copy it again"
        )
    check_size(f"an image of {path}", math.prod(stored.image_shape) * dtype.itemsize)
    return [stored]


def _is_magnitude(path: Path) -> bool:
    """Return whether the file of BIDS beside `path` says that these are magnitudes (https://bids.neuroimaging.io)."""
    beside = path.with_name(path.name[: path.name.lower().rindex(".nii")] + ".json")
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        return is_magnitude("MR" if "MagneticFieldStrength" in said else said.get("Modality"), said["ImageType"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _load(path: Path) -> Any:
    return open_image(path).dataobj.get_unscaled()


def open_image(path: Path) -> Any:
    """Return the image of `nibabel`, its voxels not read."""
    try:
        import nibabel
    except ImportError:
        raise UnveilError(f"{path} needs the nibabel package: pip install 'unveil[mri]'") from None
    with nibabel.imageglobals.LoggingOutputSuppressor():  # of headers that it mends
        return nibabel.load(path)
