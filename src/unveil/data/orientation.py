"""The Orientation of TIFF and EXIF (tag 274): pixels lie in the file as the sensor read them, and are seen turned.

Images are read as a viewer shows them. Rows and columns change their names, and run backwards where they have to: a
view, so that a window still costs only its own pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ORIENTATION", "seen_axes", "seen_pixels"]

ORIENTATION = 274
_BACKWARDS = {2: "W", 3: "HW", 4: "H", 6: "H", 7: "HW", 8: "W"}
"""Axes that run backwards in the file, by orientation; 1 and 5, and what is no orientation, have none."""


def seen_axes(axes: str, orientation: Any) -> str:
    """Return `axes` of a stored array as a viewer sees them: H and W change places for orientations 5 to 8."""
    return axes.translate(str.maketrans("HW", "WH")) if orientation in (5, 6, 7, 8) else axes


def seen_pixels(v: np.ndarray, axes: str, orientation: Any) -> np.ndarray:
    """Return `v` with the axes `axes` of the file, as a view whose rows and columns run as a viewer's do."""
    backwards = _BACKWARDS.get(orientation, "") if isinstance(orientation, int) else ""
    if not backwards:
        return v
    return v[tuple(slice(None, None, -1) if a in backwards else slice(None) for a in axes)]
