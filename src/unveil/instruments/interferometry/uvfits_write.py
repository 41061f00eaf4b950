"""UVFITS with other visibilities than those of the file that it is made from: averaged, or calibrated."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unveil.data.atomic import atomic_write
from unveil.errors import UnveilError
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["write_uvfits"]

SUBJECT = ("OBJECT", "TELESCOP", "INSTRUME", "OBSERVER", "DATE-OBS", "MJD", "OBSRA", "OBSDEC", "EQUINOX")
"""Of the header: what was observed, when, and with what."""


def write_uvfits(path: str | os.PathLike[str], coverage: Coverage, visibilities: Tensor, like: str | Path) -> None:
    """Write visibilities, complex (M,) in jansky, of Stokes I, as UVFITS; `read_uvfits` reads them back to 1e-12.

    One group each, with weight 1 / sigma^2. like: the UVFITS file that they come from, for the stations, the first
    date, the frequency, and the place on the sky. Needs astropy: pip install 'unveil[astro]'.
    Raises UnveilError when astropy is missing, or the coverage has no stations or no times.
    """
    try:
        from astropy.io import fits
    except ImportError:
        raise UnveilError(f"{path}: writing UVFITS needs astropy; pip install 'unveil[astro]'") from None
    if coverage.times is None or not coverage.pairs:
        raise UnveilError(f"{path}: the visibilities have no stations or no times, which UVFITS states")
    with fits.open(like, memmap=False) as hdus:
        header, groups, antennas = hdus[0].header, hdus[0].data, hdus["AIPS AN"].copy()
        axis = next(k for k in range(2, header["NAXIS"] + 1) if header.get(f"CTYPE{k}", "").strip() == "FREQ")
        frequency = float(header[f"CRVAL{axis}"])
        dates = [np.asarray(groups.field(k), np.float64) for k, name in enumerate(groups.parnames) if "DATE" in name]
        subject = {key: header[key] for key in SUBJECT if key in header}
    numbers = {str(row["ANNAME"]).strip(): int(row["NOSTA"]) for row in antennas.data}
    codes = np.array([256 * numbers[i] + numbers[j] for i, j in coverage.pairs], np.float64)
    days = min(dates[0]) + coverage.times.numpy() / 24 + min(sum(dates[1:], np.zeros(len(dates[0]))))
    parameters = {
        "UU---SIN": -coverage.u.numpy() / frequency,
        "VV---SIN": -coverage.v.numpy() / frequency,
        "WW---SIN": 0 * codes,
        "BASELINE": codes,
        "DATE": np.floor(days),
        "_DATE": days - np.floor(days),
    }
    cube = np.stack([visibilities.real.numpy(), visibilities.imag.numpy(), coverage.sigma.numpy() ** -2.0], -1)
    data = cube[:, None, None, None, None, None].astype(np.float64)  # (G, DEC, RA, IF, FREQ, STOKES, COMPLEX)
    hdu = fits.GroupsHDU(fits.GroupData(data, bitpix=-64, parnames=list(parameters), pardata=list(parameters.values())))
    hdu.header.update(_axes(frequency, subject))
    hdu.header.update({**subject, "BUNIT": "JY"})
    result = fits.HDUList([hdu, antennas])
    atomic_write(Path(path), lambda partial: result.writeto(partial, overwrite=True))


def _axes(frequency: float, subject: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of the axes COMPLEX, STOKES (I alone), FREQ, IF, RA and DEC."""
    at = {"FREQ": frequency, "RA": subject.get("OBSRA", 0.0), "DEC": subject.get("OBSDEC", 0.0)}
    keywords: dict[str, Any] = {}
    for k, name in enumerate(("COMPLEX", "STOKES", "FREQ", "IF", "RA", "DEC"), 2):
        keywords |= {f"CTYPE{k}": name, f"CRVAL{k}": at.get(name, 1.0), f"CRPIX{k}": 1.0, f"CDELT{k}": 1.0}
    return keywords
