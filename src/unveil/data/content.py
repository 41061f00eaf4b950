"""What a file is by its first bytes: for the message when its extension promised something else."""

from __future__ import annotations

from pathlib import Path

__all__ = ["what_it_is"]

_BEGINNINGS = (
    (b"\xff\xd8\xff", ".jpg .jpeg", "a JPEG"),
    (b"\x89PNG", ".png", "a PNG"),
    (b"II*\0", ".tif .tiff", "a TIFF"),
    (b"MM\0*", ".tif .tiff", "a TIFF"),
    (b"II+\0", ".tif .tiff", "a TIFF"),
    (b"MM\0+", ".tif .tiff", "a TIFF"),
    (b"\x93NUMPY", ".npy", "a NumPy array"),
    (b"\x89HDF", ".h5 .hdf5 .hdf .nxs .mat", "an HDF5 file"),
    (b"GIF8", "", "a GIF"),
    (b"BM", "", "a BMP"),
    (b"\0\0\0\x0cjP", "", "a JPEG 2000 image"),
    (b"SIMPLE  =", ".fits .fit .fts .fz .uvfits .uvf", "a FITS file"),
    (b"\x1f\x8b", ".gz", "compressed with gzip"),
    (b"%PDF", "", "a PDF document"),
)
_OTHERS = {name for _, names, _ in _BEGINNINGS for name in names.split()}
_NOT_HERE = (
    (b"version https://git-lfs", "a pointer of Git LFS, whose content is not here: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex, whose content is not here: git annex get, or datalad get"),
    (b"<!doctype html", "a web page, not what it was to be: download it again"),
    (b"<html", "a web page, not what it was to be: download it again"),
)


def what_it_is(path: Path) -> str | None:
    """Return what the file is and what to do, if that is known and not what its extension says; else None."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError:
        return None
    if not start:
        return "is empty, 0 bytes: restore it from its source or leave it out"
    for beginning, what in _NOT_HERE:
        if start.lower().startswith(beginning):
            return f"is {what}"
    if start[128:] == b"DICM" and path.suffix.lower() in _OTHERS:
        return "is a DICOM file by its content: name it .dcm"
    for beginning, extensions, what in _BEGINNINGS:
        if start.startswith(beginning):
            if path.suffix.lower() in extensions.split():
                return None
            advice = f"name it {extensions.split()[0]}" if extensions else "convert it to TIFF or NPY"
            return f"is {what} by its content: {advice}"
    return None
