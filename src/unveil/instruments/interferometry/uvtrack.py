"""Which points (u, v) the stations of an interferometer see while the Earth turns, and the thermal noise at each.

With the hour angle H = GMST - right ascension at longitude 0 and the declination d, the source lies along s, and east
and north on the sky along e and n, in geocentric axes (Thompson, Moran & Swenson 2017, Interferometry and Synthesis in
Radio Astronomy, section 4.1, https://doi.org/10.1007/978-3-319-44431-4):

    s = (cos d cos H, -cos d sin H, sin d)
    e = (sin H, cos H, 0)
    n = (-sin d cos H, sin d sin H, cos d)
    u = b . e / lambda,   v = b . n / lambda,   b = r_j - r_i for the pair (i, j)

(the visibility is then <E_i E_j*>, see `interferometry`). A station takes part while the source is high enough above
its horizon, the plane orthogonal to r: up to 0.2 degrees from that of the ellipsoid. The thermal noise of the real and
of the imaginary part (the radiometer equation, ibid. section 6.2; 0.88 is the efficiency of two-bit quantization,
section 8.3; written so by Chael et al. 2018, https://doi.org/10.3847/1538-4357/aab6a8) is

    sigma_ij = (1 / 0.88) sqrt(SEFD_i SEFD_j / (2 bandwidth tau))
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.stations import Station

__all__ = ["LIGHT", "QUANTIZATION", "thermal_noise", "uv_track"]

LIGHT = 299_792_458.0
"""Speed of light, m/s."""
MOST_VISIBILITIES = 10**8
"""Of a track. An hour of all of the VLA has a million."""
QUANTIZATION = 0.88
"""Efficiency of two-bit quantization."""


def thermal_noise(sefd_i: Tensor, sefd_j: Tensor, bandwidth: float, integration: float) -> Tensor:
    """Return sigma_ij in jansky, of real and imaginary part each.

    SEFDs in jansky, bandwidth in hertz, integration in seconds.
    """
    return (sefd_i * sefd_j / (2 * bandwidth * integration)).sqrt() / QUANTIZATION


def uv_track(
    stations: Sequence[Station],
    *,
    right_ascension: float,
    declination: float,
    frequency: float,
    start: float,
    stop: float,
    cadence: float,
    bandwidth: float,
    integration: float,
    minimum_elevation: float = 10.0,
) -> Coverage:
    """Return the coverage of all pairs of stations, time after time.

    In each the pairs (0, 1), (0, 2), ..., (1, 2), ...

    right_ascension: hours.  declination: degrees.  frequency: hertz.
    start, stop: first and last sidereal time at Greenwich (GMST), hours; a stop beyond 24 goes on into the next day.
    cadence: minutes between two times.
    bandwidth: hertz, and integration: seconds, averaged into one visibility. SEFDs are those of one polarization: for a
               Stokes I from two of them, pass twice the bandwidth.
    minimum_elevation: degrees; below it a station takes no part.
    Raises UnveilError for quantities out of range, and when no pair sees the source.
    """
    positive = {"frequency": frequency, "cadence": cadence, "bandwidth": bandwidth, "integration": integration}
    for name, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise UnveilError(f"{name} must be finite and > 0, not {value}")
    if not abs(declination) <= 90:
        raise UnveilError(f"declination must be in [-90, 90] degrees, not {declination}")
    if not 0 <= stop - start < math.inf:
        raise UnveilError(f"the track runs from {start} to {stop} hours: start must not be after stop; add 24 to stop")
    most = ((stop - start) * 60 / cadence + 1) * len(stations) * (len(stations) - 1) / 2
    if most > MOST_VISIBILITIES:
        raise UnveilError(
            f"the track has up to {most:.3g} visibilities, and the limit is {MOST_VISIBILITIES:,}: raise cadence, or "
            "check start and stop"
        )
    steps = math.floor((stop - start) * 60 / cadence + 1e-9) + 1
    hours = start + torch.arange(steps, dtype=torch.float64) * cadence / 60
    source, east, north = _axes((hours - right_ascension) * math.pi / 12, math.radians(declination))

    r = torch.tensor([station.position for station in stations], dtype=torch.float64).reshape(-1, 3)
    sine = (source @ r.T) / r.norm(dim=1)  # (T, S)
    up = sine >= math.sin(math.radians(minimum_elevation))
    i, j = torch.triu_indices(len(r), len(r), 1)
    time, pair = (up[:, i] & up[:, j]).nonzero(as_tuple=True)
    if not len(time):
        highest = math.degrees(math.asin(min(1.0, float(sine.max())))) if len(r) else math.nan
        raise UnveilError(
            f"no two of the {len(r)} stations see the source above {minimum_elevation:g} degrees at one of the times "
            f"(the highest elevation is {highest:.1f}): check right ascension, declination, start and stop"
        )
    i, j = i[pair], j[pair]
    b = (r[j] - r[i]) * frequency / LIGHT
    sefd = torch.tensor([station.sefd for station in stations], dtype=torch.float64)
    return Coverage(
        u=(b * east[time]).sum(1),
        v=(b * north[time]).sum(1),
        sigma=thermal_noise(sefd[i], sefd[j], bandwidth, integration),
        pairs=tuple((stations[a].name, stations[b].name) for a, b in zip(i.tolist(), j.tolist())),
        times=hours[time] - start,
    )


def _axes(angle: Tensor, declination: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return s, e and n, (T, 3) each, at the hour angles H (T,) of longitude 0; both in radians."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    cos_d, sin_d = math.cos(declination), math.sin(declination)
    source = torch.stack([cos_d * cos, -cos_d * sin, zero + sin_d], dim=1)
    east = torch.stack([sin, cos, zero], dim=1)
    north = torch.stack([-sin_d * cos, sin_d * sin, zero + cos_d], dim=1)
    return source, east, north
