"""A DICOM image derived from another: its patient, study, geometry and window, and new identifiers.

ImageType becomes DERIVED, SOPInstanceUID and SeriesInstanceUID are new (part 3, C.7.6.1.1.2 and C.12.4): the same for
the same call on the same image, others for another. Everything else that the file says is kept, private tags too, but
what was true of its stored numbers alone.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import unveil
from unveil.data.dicom import groups, read_header
from unveil.data.made import Made
from unveil.data.source import Origin

__all__ = ["create"]

_OF_NUMBERS = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "IconImageSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "NumberOfFrames",
)
"""Elements that describe the stored numbers of the original, or their layout."""
_MOST_HALVINGS = 20


@contextmanager
def create(path: Path, pattern: Origin, dtype: np.dtype, made: Made) -> Iterator[tuple[Any, str]]:
    """Make an array like `pattern`, to be filled, and its axes; the derived image that it then holds goes to `path`.

    Integers are stored numbers, of the pattern's slope and intercept. Floating point is stored in 16 bits: in steps
    that are the pattern's slope halved as often as its range allows, of the pattern's intercept.
    """
    import pydicom

    x = np.zeros(pattern.shape, dtype)
    yield x, pattern.axes
    new = read_header(pattern.path)
    scale = pattern.scale or (1.0, 0.0)
    stored = x
    if not new.file_meta.TransferSyntaxUID.is_little_endian:  # overlays and tables of the other byte order
        for element in [element for element in new if element.VR == "OW"]:
            del new[element.tag]
    if dtype.kind == "f":
        stored, scale = _quantized(x, scale)
        for group in (new, *groups(new)):  # true of the old steps
            group.pop("RealWorldValueMappingSequence", None)
    for name in _OF_NUMBERS:
        new.pop(name, None)
    if x.ndim == 3:
        new.NumberOfFrames = len(x)
    _set_scale(new, scale)
    _set_pixels(new, stored)
    _identify(new, made, stored)
    plain = pydicom.Dataset(new)  # which is of no byte order
    plain.file_meta, plain.preamble = new.file_meta, new.preamble
    plain.save_as(path, enforce_file_format=True)


def _quantized(x: np.ndarray, scale: tuple[float, float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Return x (float) as integers of 16 bits, and the (slope, intercept) that give it back to half a step."""
    from pydicom.valuerep import format_number_as_ds

    slope, intercept = scale
    low, high = (float(v) - intercept for v in (x.min(), x.max()))
    signed = low < 0
    room = max(high / 32767, -low / 32768) if signed else high / 65535
    halvings = _MOST_HALVINGS if room == 0 else min(_MOST_HALVINGS, math.floor(math.log2(abs(slope) / room)))
    step = float(format_number_as_ds(abs(slope) * 2.0**-halvings))
    kind = np.dtype(np.int16 if signed else np.uint16)
    limits = np.iinfo(kind)
    rounded = np.rint((x.astype(np.float64) - intercept) / step).clip(limits.min, limits.max)
    return rounded.astype(kind), (step, intercept)


def _set_scale(new: Any, scale: tuple[float, float]) -> None:
    """State the slope and the intercept wherever the original does, or at the top where it does nowhere."""
    places = [
        values for group in (new, *groups(new))
        for values in (group, *group.get("PixelValueTransformationSequence", [])) if "RescaleSlope" in values
    ]  # fmt: skip
    from pydicom.valuerep import DSfloat

    for values in places or ([new] if scale != (1.0, 0.0) else []):
        values.RescaleSlope, values.RescaleIntercept = (DSfloat(v, auto_format=True) for v in scale)
        values.setdefault("RescaleType", "US")


def _set_pixels(new: Any, stored: np.ndarray) -> None:
    from pydicom.uid import ExplicitVRLittleEndian

    bits = 8 * stored.dtype.itemsize
    new.BitsAllocated = new.BitsStored = bits
    new.HighBit, new.PixelRepresentation = bits - 1, int(stored.dtype.kind == "i")
    data = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<")).tobytes()
    for name in ("FloatPixelData", "DoubleFloatPixelData"):
        new.pop(name, None)
    new.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _identify(new: Any, made: Made, stored: np.ndarray) -> None:
    """Give the derived image its own identifiers, and say what it was made of and by what."""
    from pydicom.dataset import Dataset

    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = new.SOPClassUID, new.SOPInstanceUID
    source.PurposeOfReferenceCodeSequence = [_code("121322", "Source of Image Processing Operation")]
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    equipment.Manufacturer = equipment.ManufacturerModelName = "unveil"
    equipment.SoftwareVersions = unveil.__version__
    digest = hashlib.sha256(stored.tobytes()).hexdigest()
    for name, of in (("SOPInstanceUID", digest), ("SeriesInstanceUID", "")):
        if name in new:
            setattr(new, name, _uid(f"{new[name].value} {made.call} {made.layer} {of}"))
    new.file_meta.MediaStorageSOPInstanceUID = new.SOPInstanceUID
    new.ImageType = _derived(new.get("ImageType"))
    for group in groups(new):
        for element in group:
            if element.VR == "SQ" and element.keyword.endswith("FrameTypeSequence"):
                for values in element.value:
                    values.FrameType = _derived(values.get("FrameType"))
    new.SourceImageSequence = [source]
    new.ContributingEquipmentSequence = [*new.get("ContributingEquipmentSequence", []), equipment]
    new.DerivationDescription = str(made)
    new.SeriesDescription = f"{new.get('SeriesDescription', '')} {made}".strip()[:64]


def _derived(kind: Any) -> list[str]:
    return ["DERIVED", *(list(kind or [])[1:] or ["SECONDARY"])]


def _code(value: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _uid(text: str) -> str:
    """Return an identifier that is the same for the same text (part 5, B.2)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, text).int}"
