"""A FITS file for results: all that the file which it is to be like holds, with results in place of its images.

Headers are kept, the WCS with them; a HISTORY card says what the images are. Other extensions (errors, flags, tables)
are those of the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.fits import open_raw
from unveil.data.made import Made
from unveil.data.source import Origin

__all__ = ["create"]

_OF_NUMBERS = ("BSCALE", "BZERO", "BLANK", "DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM")
"""Cards that describe the stored numbers of the measurements."""


@contextmanager
def create(path: Path, pattern: Origin, parts: Sequence[str], dtype: np.dtype, made: Made) -> Iterator[tuple[Any, str]]:
    """Make an array for the images of the extensions `parts`, to be filled, and its axes; they then go to `path`.

    pattern: of each of the extensions, which have one shape. Integers are stored numbers, of the pattern's slope.
    """
    from astropy.io import fits

    x = np.zeros((len(parts), *pattern.shape), dtype)
    yield x, "N" + pattern.axes
    replaced = {int(part): values for part, values in zip(parts, x)}
    with open_raw(pattern.path) as old:
        hdus = []
        for k, hdu in enumerate(old):
            if k not in replaced:
                hdus.append(hdu)
                continue
            header = hdu.header.copy()
            for name in _OF_NUMBERS:
                header.remove(name, ignore_missing=True, remove_all=True)
            kind = fits.PrimaryHDU if k == 0 else fits.ImageHDU
            new = kind(replaced[k], header)
            if pattern.scale is not None and dtype.kind in "iu":
                new.header["BSCALE"], new.header["BZERO"] = pattern.scale
            new.header.add_history(f"{made}; from {pattern.path.name}".encode("ascii", "replace").decode())
            hdus.append(new)
        fits.HDUList(hdus).writeto(path, overwrite=True, output_verify="silentfix")
