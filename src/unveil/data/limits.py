"""What a file declares is held against what a machine can hold, before memory is asked for.

A few bytes of a header can declare terabytes. A limit that is met by mistake is raised by the environment variable
UNVEIL_LIMIT_GIB; nothing in a file can raise it.
"""

from __future__ import annotations

import math
import os

from unveil.errors import UnveilError

__all__ = ["check_count", "check_size"]

LIMIT = "UNVEIL_LIMIT_GIB"
DEFAULT = 4.0
"""GiB that one image, or one array that can only be decoded whole, may fill."""
SUSPICIOUS = 200
SUSPICIOUS_GIB = 0.5
"""What is compressed that many times over may fill less, unless the environment variable allows more."""
MOST_IMAGES = 10**6
"""Of one file."""


def check_size(where: str, nbytes: int, stored: int | None = None) -> None:
    """Raise UnveilError if what lies at `where` would fill more memory than the limit.

    nbytes: of one image, or of the whole array where no part of it can be decoded alone. stored: the bytes of the file
    that it is decoded from: what was measured has noise, and is not compressed SUSPICIOUS-fold.
    """
    limit = _limit()
    if stored is not None and nbytes > SUSPICIOUS * stored and not os.environ.get(LIMIT):
        limit = min(limit, SUSPICIOUS_GIB)
    if nbytes > limit * 2**30:
        within = "" if stored is None else f" in {stored / 2**20:.3g} MiB"
        raise UnveilError(
            f"{where} declares {nbytes / 2**30:.3g} GiB{within}, and the limit is {limit:g} GiB at once: check that it "
            f"is the right file, or allow more with the environment variable {LIMIT}={math.ceil(nbytes / 2**30)}"
        )


def check_count(where: str, images: int) -> None:
    """Raise UnveilError if the file at `where` declares more images than any instrument writes to one."""
    if images > MOST_IMAGES:
        raise UnveilError(
            f"{where} declares {images:,} images, and a file may hold {MOST_IMAGES:,}: check axes and the file, or "
            "split it"
        )


def _limit() -> float:
    stated = os.environ.get(LIMIT, "")
    try:
        limit = float(stated) if stated else DEFAULT
    except ValueError:
        limit = math.nan
    if not limit > 0:
        raise UnveilError(f"{LIMIT}={stated}: must be a number of GiB > 0")
    return limit
