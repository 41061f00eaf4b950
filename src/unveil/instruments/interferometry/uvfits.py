"""Visibilities of real observations, from UVFITS: FITS random groups in the layout of AIPS.

One group is a pair of stations at one time, with visibilities along the axes IF, FREQ and STOKES as (real, imaginary,
weight). Layout: E. Greisen, AIPS Memo 117 (http://www.aips.nrao.edu/aipsmemo.html).

- u, v: parameters UU, VV (also UU--, UU---SIN, ...) in seconds, times the frequency of each IF and channel. UVFITS has
  them along r_1 - r_2, which goes with exp(+2 pi i ...): they are reversed here, to fit `interferometry`.
- Stokes I, or (RR + LL) / 2, or (XX + YY) / 2, with sigma = sqrt(sigma_1^2 + sigma_2^2) / 2. Where one of RR and LL is
  flagged or absent the other stands for I, as for an unpolarized source.
- weight = 1 / sigma^2, sigma of real and imaginary part each. Not > 0, or not finite: flagged, and dropped.
- A station paired with itself measures no visibility: dropped. The stations are the parameters ANTENNA1 and ANTENNA2,
  or else BASELINE = 256 i + j (2048 i + j + 65536 from 256 stations on); where there are neither, u = v = 0 is a
  station alone.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["read_uvfits"]

LONGEST = 2.0
"""Seconds of light: farther than to the Moon are no two stations."""
_STOKES = {1: "I", -1: "RR", -2: "LL", -5: "XX", -6: "YY"}


def read_uvfits(path: str | Path) -> tuple[Coverage, Tensor]:
    """Return the coverage of the file's M unflagged visibilities, and they (M,), complex128, in the file's units (Jy).

    Order: group by group, in each IF by IF, channel by channel. Needs astropy: pip install 'unveil[astro]'.
    Raises UnveilError when astropy or the file is missing, it is not FITS or not UVFITS, lacks a parameter or an axis,
    has no Stokes I, or all of it is flagged.
    """
    try:
        from astropy.io import fits
    except ImportError:
        raise UnveilError(f"{path}: reading UVFITS needs astropy; pip install 'unveil[astro]'") from None
    if not Path(path).is_file():
        raise UnveilError(f"{path} does not exist; give a UVFITS file")
    try:
        with fits.open(path, memmap=False) as hdus:
            tables = {hdu.name.strip(): hdu.data for hdu in reversed(hdus[1:])}  # the first of each name
            if not isinstance(hdus[0], fits.GroupsHDU):
                raise UnveilError(
                    f"{path} is FITS without random groups, not UVFITS; export visibilities as UVFITS, and images as "
                    "TIFF or .npy"
                )
            return _read(hdus[0].header, hdus[0].data, tables, str(path))
    except UnveilError:
        raise
    except Exception as error:  # astropy raises whatever comes: OSError, TypeError, VerifyError
        raise UnveilError(f"{path} cannot be read as FITS ({error}); give a UVFITS file") from None


def _read(header: Any, groups: Any, tables: dict[str, Any], path: str) -> tuple[Coverage, Tensor]:
    axes = _axes(header)
    for name in ("COMPLEX", "STOKES", "FREQ"):
        if name not in axes:
            raise UnveilError(f"{path} has no axis {name}, only {', '.join(axes)}; export the visibilities as UVFITS")
    cube = _cube(groups.data, axes)  # (G, IF, FREQ, STOKES, 3)
    if cube.shape[-1] < 3:
        raise UnveilError(f"{path} has visibilities without weights; export them with weights 1 / sigma^2")
    intensity, sigma = _stokes_i(cube, _coordinates(header, axes["STOKES"]), path)
    frequency = _coordinates(header, axes["FREQ"]) + _offsets(groups, tables, cube.shape)[..., None]
    if not frequency.min() > 0:
        raise UnveilError(
            f"{path} has the frequency {frequency.min():g} hertz: CRVAL of its axis FREQ must be that of the band"
        )
    seconds = [_seconds(groups, name, path) for name in ("UU", "VV")]
    u, v = (-t[:, None, None] * frequency for t in seconds)  # (G, IF, FREQ)
    stations = _stations(groups)
    cross = (u[:, 0, 0] != 0) | (v[:, 0, 0] != 0) if stations is None else stations[0] != stations[1]
    kept = np.isfinite(intensity) & np.isfinite(sigma) & np.isfinite(u) & np.isfinite(v) & cross[:, None, None]
    if not kept.any():
        raise UnveilError(
            f"{path} has no unflagged visibility of Stokes I: all weights are <= 0 or not finite, or the stations are "
            "paired with themselves"
        )
    longest = max(float(np.abs(t[kept.any((1, 2))]).max()) for t in seconds)
    if not 0 < longest < LONGEST:
        raise UnveilError(
            f"{path} has baselines (UU, VV) of up to {longest:.3g} seconds of light: they must be in seconds, not in "
            "wavelengths or metres, and not all 0"
        )
    pairs: tuple[tuple[str, str], ...] = ()
    if stations is not None:
        names, group = _names(tables), np.nonzero(kept)[0]
        pairs = tuple((names.get(i, str(i)), names.get(j, str(j))) for i, j in zip(*(s[group] for s in stations)))
    times = _hours(groups)
    coverage = Coverage(
        torch.from_numpy(u[kept]),
        torch.from_numpy(v[kept]),
        torch.from_numpy(sigma[kept]),
        pairs,
        None if times is None else torch.from_numpy(times[np.nonzero(kept)[0]]),
    )
    return coverage, torch.from_numpy(intensity[kept])


def _axes(header: Any) -> dict[str, int]:
    """Map CTYPE to the number of the FITS axis."""
    return {str(header.get(f"CTYPE{k}", "")).strip().upper(): k for k in range(2, header["NAXIS"] + 1)}


def _cube(data: Any, axes: dict[str, int]) -> np.ndarray:
    """Return the data as (G, IF, FREQ, STOKES, COMPLEX).

    Their axes numpy has in reverse order after that of the groups.
    """
    cube = np.asarray(data, dtype=np.float64)
    found = [name for name in ("IF", "FREQ", "STOKES", "COMPLEX") if name in axes]
    cube = np.moveaxis(cube, [cube.ndim + 1 - axes[name] for name in found], range(-len(found), 0))
    last = cube.shape[-len(found) :]
    return cube.reshape(len(cube), *(last if "IF" in axes else (1, *last)))  # no others than RA and DEC, of one entry


def _coordinates(header: Any, axis: int) -> np.ndarray:
    """Return CRVAL + (k - CRPIX) CDELT along a FITS axis."""
    k = np.arange(1, header[f"NAXIS{axis}"] + 1)
    return header[f"CRVAL{axis}"] + (k - header.get(f"CRPIX{axis}", 1.0)) * header.get(f"CDELT{axis}", 1.0)


def _seconds(groups: Any, name: str, path: str) -> np.ndarray:
    """Return the parameter UU or VV (G,); UU-L is in wavelengths, and AIPS' own disk format."""
    found = _parameter(groups, rf"{name}(-+(?!L)\w*)?")
    if found is None:
        raise UnveilError(f"{path} has no parameter {name}, only {', '.join(groups.parnames)}; export it as UVFITS")
    return found


def _parameter(groups: Any, pattern: str) -> np.ndarray | None:
    """Return the first parameter (G,) whose name is of the pattern; None without one."""
    found = [name for name in groups.parnames if re.fullmatch(pattern, name.strip().upper())]
    return np.asarray(groups.par(found[0]), dtype=np.float64) if found else None


def _hours(groups: Any) -> np.ndarray | None:
    """Return hours (G,) since the first group; None where the file does not say.

    The date is a Julian day, the sum of parameters DATE, of which the second is a small one.
    """
    columns = [k for k, name in enumerate(groups.parnames) if name.strip().upper() in ("DATE", "_DATE")]
    if not columns:
        return None
    parts = [np.asarray(groups.field(k), dtype=np.float64) for k in columns]  # scaled and shifted, not yet added
    days = parts[0] - parts[0].min() + sum(part for part in parts[1:])
    hours: np.ndarray = 24 * (days - days.min())
    return hours


def _offsets(groups: Any, tables: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return what the table AIPS FQ adds to the frequency of each group and IF, (G, IF) in hertz.

    Row FREQSEL, else the first.
    """
    if "AIPS FQ" not in tables:
        return np.zeros(shape[:2])
    rows = np.asarray(tables["AIPS FQ"]["IF FREQ"], dtype=np.float64).reshape(len(tables["AIPS FQ"]), -1)
    which = np.zeros(shape[0], dtype=int)
    if "FREQSEL" in groups.parnames:
        labels = list(tables["AIPS FQ"]["FRQSEL"])
        which = np.array([labels.index(label) if label in labels else 0 for label in groups.par("FREQSEL")])
    return rows[which, : shape[1]]


def _stokes_i(cube: np.ndarray, codes: np.ndarray, path: str) -> "Estimate":
    """Return Stokes I of the cube (G, IF, FREQ, STOKES, 3), whose STOKES are `codes`."""
    parts = {}
    for k, code in enumerate(codes):
        value, weight = cube[..., k, 0] + 1j * cube[..., k, 1], cube[..., k, 2]
        good = np.isfinite(value) & np.isfinite(weight) & (weight > 0)
        parts[_STOKES.get(round(code), "")] = (np.where(good, value, np.nan), np.where(good, weight, np.nan) ** -0.5)
    if "I" in parts:
        return parts["I"]
    if "XX" in parts and "YY" in parts:
        return _mean(parts["XX"], parts["YY"])
    if "RR" not in parts and "LL" not in parts:
        have = ", ".join(f"{code:g}" for code in codes)
        raise UnveilError(
            f"{path} has no Stokes I, only STOKES {have}; it needs I (1), RR (-1) or LL (-2), or XX and YY"
        )
    right, left = (parts.get(hand, _none(cube)) for hand in ("RR", "LL"))
    return _first(_mean(right, left), right, left)


Estimate = tuple[np.ndarray, np.ndarray]
"""A visibility and its sigma (G, IF, FREQ), both NaN where flagged."""


def _none(cube: np.ndarray) -> Estimate:
    return np.full(cube.shape[:3], np.nan + 0j), np.full(cube.shape[:3], np.nan)


def _mean(a: Estimate, b: Estimate) -> Estimate:
    return (a[0] + b[0]) / 2, np.hypot(a[1], b[1]) / 2


def _first(*estimates: Estimate) -> Estimate:
    """Return in each entry the first of the estimates that is not flagged."""
    value, sigma = estimates[0]
    for other, its_sigma in estimates[1:]:
        flagged = np.isnan(sigma)
        value, sigma = np.where(flagged, other, value), np.where(flagged, its_sigma, sigma)
    return value, sigma


def _stations(groups: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numbers of the two stations of each group, from 0 or from 1; None when the file does not say.

    A hundredth is added to BASELINE for each further subarray.
    """
    first, second = (_parameter(groups, name) for name in ("ANTENNA1", "ANTENNA2"))
    if first is not None and second is not None:
        return first.round().astype(int), second.round().astype(int)
    baseline = _parameter(groups, "BASELINE")
    if baseline is None:
        return None
    code = np.floor(baseline + 1e-3).astype(int)
    many = code >= 65536
    code, base = np.where(many, code - 65536, code), np.where(many, 2048, 256)
    return code // base, code % base


def _names(tables: dict[str, Any]) -> dict[int, str]:
    """Map numbers to names of the stations, from the table AIPS AN."""
    table = tables.get("AIPS AN")
    return {} if table is None else {int(row["NOSTA"]): str(row["ANNAME"]).strip() for row in table}
