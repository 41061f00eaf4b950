"""Colour cameras' raw mosaics. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.sections import Section

__all__ = ["INSTRUMENT", "DemosaicingSection"]


class DemosaicingSection(Section):
    """Raw mosaics of a colour camera: each pixel sees red, green or blue."""

    kind: Literal["demosaicing"] = Field("demosaicing", description="the imaging system; another kind has other keys")
    pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = Field(
        "RGGB", description="colours of the four pixels at the top left, row by row"
    )


INSTRUMENT = Instrument(
    section=DemosaicingSection,
    build="unveil.instruments.demosaicing.operator:build_demosaicing",
    example="unveil.instruments.demosaicing.example:mosaics",
    settings={"loss": {"symmetry": ["shift"], "equivariance": 3.0, "seen": True}},
    keys=("pattern",),
    level_shows=False,
    same_grid=True,
)
"""Of what a colour filter leaves out only what other shifts saw is taught."""
