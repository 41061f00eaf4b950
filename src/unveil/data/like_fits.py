"""A FITS image of what a radio array saw: jansky per pixel on the sky, in the place that its UVFITS file names.

Axes in degrees about the phase centre, as all readers of FITS expect (Greisen and Calabretta 2002,
https://doi.org/10.1051/0004-6361:20021326): the first row is the south, and right ascension grows to the left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.source import Origin

__all__ = ["Sky", "create"]

MICROARCSECONDS = 3.6e9
"""In a degree."""
KEPT = ("OBJECT", "TELESCOP", "INSTRUME", "OBSERVER", "DATE-OBS", "MJD", "EQUINOX")


@dataclass(frozen=True)
class Sky:
    """What an image of the sky stands for: the side of a pixel, microarcseconds; jansky per pixel of the value 1."""

    pixel: float
    jansky: float


@contextmanager
def create(path: Path, pattern: Origin, sky: Sky, shape: tuple[int, ...]) -> Iterator[tuple[Any, str]]:
    """Make an array (H, W) to be filled, and its axes; the image that it then holds goes to `path`. Needs astropy."""
    from astropy.io import fits

    header = fits.getheader(pattern.path)
    x = np.zeros(shape[1:], np.float32)
    yield x, "HW"
    hdu = fits.PrimaryHDU(np.ascontiguousarray(sky.jansky * x[::-1], dtype=np.float32))
    hdu.header.update({key: header[key] for key in KEPT if key in header})
    side = sky.pixel / MICROARCSECONDS
    for k, (name, place, sign) in enumerate((("RA---SIN", "OBSRA", -1), ("DEC--SIN", "OBSDEC", 1)), 1):
        keys = {"CTYPE": name, "CUNIT": "deg", "CRPIX": (shape[-k] + 1) / 2, "CDELT": sign * side}
        hdu.header.update({f"{key}{k}": value for key, value in keys.items()})
        hdu.header[f"CRVAL{k}"] = float(header.get(place, 0.0))
    hdu.header["BUNIT"] = "JY/PIXEL"
    hdu.header["COMMENT"] = f"pixels of {sky.pixel:g} microarcseconds"
    hdu.writeto(path, overwrite=True)
