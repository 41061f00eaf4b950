"""DICOM (https://www.dicomstandard.org, parts 3 and 5): slices of one file each, or frames of enhanced images.

Values are those of the modality, Hounsfield units for one: what RescaleSlope and RescaleIntercept make of the stored
numbers. MONOCHROME1 is how they are displayed, dark where they are large, and changes no value. A folder's slices come
by series, in each along its normal as ImagePositionPatient says; file names may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.axes import check_axes
from unveil.data.inside import inside
from unveil.data.limits import check_count, check_size
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError, warn

__all__ = ["DIRECTORY", "EXTENSIONS", "groups", "is_dicom", "is_magnitude", "read_header", "scan", "scan_directory"]

EXTENSIONS = (".dcm", ".dicom", ".ima")
DIRECTORY = "dicomdir"
_PHASES = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "MIXED", "COMPLEX"}
"""Of ImageType and ComplexImageComponent, which say that numbers are not magnitudes."""

_NOT_MEASURED = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "PR", "SR")


def is_dicom(path: Path) -> bool:
    """Return whether the file `path` begins as DICOM files do, whatever its name."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the image or the frames of the file `path`; none, and a warning, where it holds something else.

    axes: HW, or NHW of frames. Raises UnveilError where `pydicom` is not installed, or lacks what decodes the file.
    """
    header = read_header(path)
    said = str(header.get("Modality", "") or "no modality")
    if "Rows" not in header or said in _NOT_MEASURED:
        warn(f"{path.parent}: DICOM files that are no measured images ({said}) are left out")
        return []
    if header.get("SamplesPerPixel", 1) != 1 or header.PhotometricInterpretation == "PALETTE COLOR":
        warn(f"{path.parent}: DICOM images in colour ({said}) are left out; to use them convert them to TIFF")
        return []
    _check_readable(path, header)
    frames = int(header.get("NumberOfFrames") or 1)
    rows, columns = int(header.Rows), int(header.Columns)
    shape: tuple[int, ...] = (frames, rows, columns) if frames > 1 else (rows, columns)
    own = "NHW" if frames > 1 else "HW"
    if axes is None or axes.upper().replace("N", "") == "HW":
        axes = own
    dtype, scale = _dtype(header), _scales(header, frames)
    load: Any = partial(_load, path, shape, dtype)
    if len(set(scale)) > 1:
        load, dtype = partial(_Scaled, path, shape, tuple(scale)), np.dtype(np.float32)
    one = scale[0] if len(set(scale)) == 1 and dtype.kind in "iu" else None
    kinds = [*(header.get("ImageType") or []), header.get("ComplexImageComponent", "")]
    magnitude = is_magnitude(header.get("Modality"), kinds)
    stored = StoredArray(
        path, "", shape, dtype, check_axes(axes, shape, str(path)), load,
        scale=one, place=_place(header), magnitude=magnitude,
    )  # fmt: skip
    check_count(str(path), stored.images)
    check_size(f"an image of {path}", math.prod(stored.image_shape) * dtype.itemsize)
    return [stored]


def scan_directory(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the images of all files that the DICOMDIR `path` lists; they lie in its folder."""
    records = read_header(path).get("DirectoryRecordSequence", [])
    parts = [record.ReferencedFileID for record in records if "ReferencedFileID" in record]
    found = []
    for part in parts:
        file = path.parent.joinpath(*([part] if isinstance(part, str) else part))
        inside(str(path), file, path.parent.resolve(), path.resolve().parent)
        if not file.is_file():
            raise UnveilError(f"{path} lists {file}, which is not there: copy the whole medium, or give its files")
        found += scan(file, axes)
    if not found:
        raise UnveilError(f"{path} lists no image: give a folder of DICOM files")
    return found


def read_header(path: Path) -> Any:
    """Return all that the file `path` holds but its pixels."""
    try:
        import pydicom
    except ImportError:
        raise UnveilError(f"{path} needs the pydicom package: pip install 'unveil[mri]'") from None
    return pydicom.dcmread(path, stop_before_pixels=True)


def groups(header: Any) -> Iterator[Any]:
    """Yield the functional groups of enhanced images: the one that all frames share, then those of each."""
    yield from header.get("SharedFunctionalGroupsSequence", [])
    yield from header.get("PerFrameFunctionalGroupsSequence", [])


def _check_readable(path: Path, header: Any) -> None:
    from pydicom.pixels import get_decoder

    if "ModalityLUTSequence" in header:
        raise UnveilError(f"{path} has a table of values (ModalityLUTSequence), which no slope undoes: export it again")
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise UnveilError(
            f"{path} is compressed ({syntax.name}), which needs a decoder: pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg"
        )


def _dtype(header: Any) -> np.dtype:
    bits = int(header.get("BitsAllocated", 16))
    if bits not in (8, 16, 32, 64):
        raise UnveilError(f"{header.filename} has {bits} bits a pixel, which is no image of values: leave it out")
    if "PixelRepresentation" not in header:  # float or double pixel data
        return np.dtype(f"f{bits // 8}")
    return np.dtype(f"{'i' if header.PixelRepresentation else 'u'}{bits // 8}")


def _scales(header: Any, frames: int) -> list[tuple[float, float]]:
    """Return (slope, intercept) of each frame."""
    shared = _scale(header) or next(
        (s for g in header.get("SharedFunctionalGroupsSequence", []) if (s := _scale(g))), None
    )
    per_frame = [_scale(group) for group in header.get("PerFrameFunctionalGroupsSequence", [])]
    if len(per_frame) != frames:
        per_frame = [None] * frames
    return [own or shared or (1.0, 0.0) for own in per_frame]


def _scale(group: Any) -> tuple[float, float] | None:
    for values in (group, *group.get("PixelValueTransformationSequence", [])):
        if values.get("RescaleSlope") is not None:
            return float(values.RescaleSlope), float(values.get("RescaleIntercept") or 0)
    return None


def _place(header: Any) -> tuple[Any, ...]:
    """Return what slices are sorted by: the series, the place along its normal, the time, the number."""
    along = 0.0
    position, towards = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position and towards:
        across, down = np.reshape([float(v) for v in towards], (2, 3))
        along = round(float(np.cross(across, down) @ [float(v) for v in position]), 3)
    number = header.get("InstanceNumber")
    time = str(header.get("AcquisitionTime") or "")
    return str(header.get("SeriesInstanceUID", "")), along, time, int(number) if number is not None else 0


def is_magnitude(modality: object, kinds: Iterable[object]) -> bool:
    """Return whether numbers are magnitudes of complex ones: MR images whose ImageType names nothing else."""
    return modality == "MR" and not {str(kind).upper() for kind in kinds} & _PHASES


def _load(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    return _Frames(path, shape, dtype) if len(shape) == 3 else _decode(path, None).astype(dtype, copy=False)


def _decode(path: Path, frame: int | None) -> np.ndarray:
    from pydicom.pixels import pixel_array

    return np.asarray(pixel_array(path, raw=True, index=frame))


class _Frames:
    """Frames as stored, each decoded when it is asked for."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        return self.frame(int(key[0]))[key[1:]].astype(self.dtype, copy=False)

    def frame(self, k: int) -> np.ndarray:
        return _decode(self.path, k)


class _Scaled(_Frames):
    """Frames of values, where each has a slope of its own."""

    def __init__(self, path: Path, shape: tuple[int, ...], scales: tuple[tuple[float, float], ...]) -> None:
        super().__init__(path, shape, np.dtype(np.float32))
        self.scales = scales

    def frame(self, k: int) -> np.ndarray:
        slope, intercept = self.scales[k]
        return super().frame(k) * slope + intercept
