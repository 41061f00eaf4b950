"""Round photographs at half their resolution."""

from pathlib import Path

from unveil.instruments.example import SIDE, Example
from unveil.instruments.photographs import round_grey, windows
from unveil.instruments.super_resolution.operator import super_resolution

__all__ = ["coarse"]


def coarse(folder: Path) -> Example:
    return Example(
        images=round_grey(windows()),
        operator=super_resolution(2, SIDE, SIDE),
        sigma=0.02,
        section={"factor": 2},
        about="round photographs at half their resolution",
    )
