"""The side of a pixel, as a file states it: ImageJ's and OME's TIFF, MRC, OME-Zarr, NIfTI, DICOM, FITS.

Nothing is guessed.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

from unveil.data import dicom, fits, microscopy, nifti
from unveil.data.formats import format_of
from unveil.data.like_mrc import EXTENSIONS as MRC

__all__ = ["metres", "pixel_size"]

MICROMETRES = ("um", "micron", "microns", "micrometer", "micrometre", "\u00b5m", "\u03bcm", "\\u00B5m")
UNITS = {
    **dict.fromkeys(MICROMETRES, "\u00b5m"),
    **dict.fromkeys(("angstrom", "\\u00C5"), "\u00c5"),
    "picometer": "pm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}
"""As files spell it -> as it is written."""
METRES = {"pm": 1e-12, "\u00c5": 1e-10, "nm": 1e-9, "\u00b5m": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
PIXELS = ("", "pixel", "pixels", "inch", "none", "null")
"""Units that say nothing of the object: dots an inch are of a printed page."""


def pixel_size(path: Path) -> tuple[float, str] | None:
    """Return the side of a pixel along a row, > 0, and its unit, as the file `path` states it; None where it does not.

    Of a damaged file None as well: who reads its pixels says so.
    """
    try:
        if (found := _stated(path)) is None:
            return None
        side, unit = float(found[0]), str(found[1]).strip()
    except Exception:  # headers of other programs hold anything, and their readers raise anything
        return None
    if not (math.isfinite(side) and side > 0) or unit.lower() in PIXELS:
        return None
    return side, _written(unit)[:20]


def metres(unit: object) -> float | None:
    """Return how many metres the unit of length is, as a file spells it; None of another."""
    return METRES.get(_written(str(unit).strip()))


def _written(unit: str) -> str:
    return UNITS.get(unit.lower(), UNITS.get(unit, unit))


def _stated(path: Path) -> tuple[Any, Any] | None:
    suffix = path.suffix.lower()
    if path.is_dir():
        return _zarr(path)
    if suffix in (".tif", ".tiff"):
        return _tiff(path)
    if suffix in MRC:
        return _mrc(path)
    form = format_of(path)
    reader = {
        microscopy.EXTENSIONS: microscopy.pixel_size,
        nifti.EXTENSIONS: _nifti,
        dicom.EXTENSIONS: _dicom,
        fits.EXTENSIONS: _fits,
    }.get(form.extensions if form else ())
    return None if reader is None else reader(path)


def _nifti(path: Path) -> tuple[Any, Any]:
    header = nifti.open_image(path).header
    return header.get_zooms()[0], header.get_xyzt_units()[0].replace("unknown", "")


def _dicom(path: Path) -> tuple[Any, Any] | None:
    header = dicom.read_header(path)
    measures = (g.PixelMeasuresSequence[0] for g in dicom.groups(header) if "PixelMeasuresSequence" in g)
    for values in (header, *measures):
        if "PixelSpacing" in values:
            return values.PixelSpacing[1], "mm"  # between columns
    return None


def _fits(path: Path) -> tuple[Any, Any] | None:
    from astropy.wcs import WCS

    with warnings.catch_warnings(), fits.open_raw(path) as hdus:
        warnings.simplefilter("ignore")  # of keys that it mends
        for hdu in hdus:
            if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2:
                sky = WCS(hdu.header, hdus).celestial
                return (sky.proj_plane_pixel_scales()[0].to_value("arcsec"), "arcsec") if sky.has_celestial else None
    return None


def _tiff(path: Path) -> tuple[Any, Any] | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if file.is_ome:
            images = tifffile.xml2dict(file.ome_metadata or "")["OME"]["Image"]
            pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
            return pixels["PhysicalSizeX"], pixels.get("PhysicalSizeXUnit", "\u00b5m")
        if file.is_imagej:
            count, length = file.pages.first.tags["XResolution"].value  # pixels in so many units
            return length / count, (file.imagej_metadata or {}).get("unit", "")
    return None


def _mrc(path: Path) -> tuple[Any, Any] | None:
    import mrcfile

    with warnings.catch_warnings():  # of an old header, which was read all the same
        warnings.simplefilter("ignore")
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            return file.voxel_size.x, "angstrom"


def _zarr(path: Path) -> tuple[Any, Any] | None:
    """Return what the first image's level 0 states (https://ngff.openmicroscopy.org/0.5/)."""
    new, old = path / "zarr.json", path / ".zattrs"
    if new.is_file():
        attributes = json.loads(new.read_text(encoding="utf-8"))["attributes"]
    else:
        attributes = json.loads(old.read_text(encoding="utf-8"))
    scales = attributes.get("ome", attributes)["multiscales"][0]
    k = [axis["name"] for axis in scales["axes"]].index("x")
    steps = [*scales["datasets"][0]["coordinateTransformations"], *scales.get("coordinateTransformations", [])]
    sides = [step["scale"][k] for step in steps if step["type"] == "scale"]
    return math.prod(sides), scales["axes"][k].get("unit", "")
