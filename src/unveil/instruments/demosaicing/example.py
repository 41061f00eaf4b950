"""Windows of photographs through the colour filters of a camera."""

from pathlib import Path

from unveil.instruments.demosaicing.operator import demosaicing
from unveil.instruments.example import SIDE, Example
from unveil.instruments.photographs import windows

__all__ = ["mosaics"]


def mosaics(folder: Path) -> Example:
    return Example(
        images=windows(),
        operator=demosaicing(SIDE, SIDE, "RGGB"),
        sigma=0.05,
        section={"pattern": "RGGB"},
        about="photographs through the colour filters of a camera",
    )
