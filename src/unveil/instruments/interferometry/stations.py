"""The stations of an interferometer, from a text table.

One station a line,

    name  X  Y  Z  SEFD

X, Y, Z geocentric in metres (X towards longitude 0, Y towards longitude 90 degrees east, Z towards the north pole);
SEFD, the system equivalent flux density of one polarization, in jansky. Further columns are ignored, so the tables of
eht-imaging (https://github.com/achael/eht-imaging, SEFDR and SEFDL) are read as they stand: their SEFDR is taken.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from unveil.errors import UnveilError

__all__ = ["Station", "read_stations"]


@dataclass(frozen=True)
class Station:
    """name; position (X, Y, Z), geocentric, in metres; sefd in jansky."""

    name: str
    position: tuple[float, float, float]
    sefd: float


def read_stations(path: str | Path) -> tuple[Station, ...]:
    """Return the stations of the table at `path`, in its order; what follows # is a comment.

    Raises UnveilError, with the line's number, for a line that does not start with a new name and four finite numbers,
    or whose SEFD is not > 0; and when the file cannot be read or has fewer than two stations.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise UnveilError(f"{path}: {reason}; give a text table with a line 'name X Y Z SEFD' per station") from None
    stations: dict[str, Station] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        station = _station(words)
        if station is None or station.name in stations:
            what = "needs a name, X Y Z in metres and a SEFD > 0 in Jy" if station is None else "repeats a station"
            raise UnveilError(f"{path}, line {number}: {line.strip()[:60]!r} {what}; mend or delete the line")
        stations[station.name] = station
    if len(stations) < 2:
        raise UnveilError(f"{path} has {len(stations)} stations: an interferometer needs two; add lines")
    return tuple(stations.values())


def _station(words: list[str]) -> Station | None:
    """Return the station of a line's words, None when there are too few or they are not numbers."""
    try:
        x, y, z, sefd = (float(word) for word in words[1:5])
    except ValueError:  # no number, or not four
        return None
    if not all(map(math.isfinite, (x, y, z, sefd))) or not sefd > 0 or not (x or y or z):
        return None
    return Station(words[0], (x, y, z), sefd)
