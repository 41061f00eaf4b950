"""The formats that are read, one line each: the extensions, and the function that lists the arrays in a file of them.

To add one: a file with `scan(path, axes)`, which returns `StoredArray`s without reading pixels, and its line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unveil.data import dicom, fits, hdf5, microscopy, mrc, nifti, npy, particles, raster, tiff, uvfits, zarrs
from unveil.data.stored import StoredArray

__all__ = ["EXTENSIONS", "FORMATS", "LISTED", "Format", "format_of"]


@dataclass(frozen=True)
class Format:
    """A format of files, or of folders that are one measurement.

    extensions: in lower case, with their dots. scan: (path, axes) -> its arrays; where `datasets`, which have names
    inside, (path, dataset, axes) -> its arrays. folder: whether a folder is of this format; None: it is one of files.
    content: whether a file of a name without a known extension is of this format; None: no such file is.
    listed: whether such files in a folder are among its images; else they only say what others hold.
    """

    extensions: tuple[str, ...]
    scan: Callable[..., list[StoredArray]]
    datasets: bool = False
    folder: Callable[[Path], bool] | None = None
    content: Callable[[Path], bool] | None = None
    listed: bool = True


FORMATS = (
    Format((".png", ".jpg", ".jpeg"), raster.scan),
    Format((".tif", ".tiff"), tiff.scan),
    Format((".npy",), npy.scan),
    Format(hdf5.EXTENSIONS, hdf5.scan, datasets=True),
    Format((".zarr",), zarrs.scan, datasets=True, folder=zarrs.is_zarr),
    Format((".mrc", ".mrcs", ".map", ".rec", ".st", ".ali"), mrc.scan),
    Format((".star",), particles.scan, listed=False),
    Format(microscopy.EXTENSIONS, microscopy.scan),
    Format(uvfits.EXTENSIONS, uvfits.scan),
    Format(fits.EXTENSIONS, fits.scan, datasets=True),
    Format(nifti.EXTENSIONS, nifti.scan),
    Format((dicom.DIRECTORY,), dicom.scan_directory),
    Format(dicom.EXTENSIONS, dicom.scan, content=dicom.is_dicom),
)
EXTENSIONS = tuple(extension for form in FORMATS for extension in form.extensions)
LISTED = tuple(extension for form in FORMATS if form.listed for extension in form.extensions)


def format_of(path: Path) -> Format | None:
    """Return the format of the file or folder `path`: of a file by its extension, or else its content.

    None where there is none.
    """
    if path.is_dir():
        return next((form for form in FORMATS if form.folder is not None and form.folder(path)), None)
    files = (form for form in FORMATS if form.folder is None)
    named = next((form for form in files if path.name.lower().endswith(form.extensions)), None)
    return named or next((form for form in FORMATS if form.content is not None and form.content(path)), None)
