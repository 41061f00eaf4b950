"""Radio interferometers. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field, model_validator

from unveil.instruments.instrument import ImageUnits, Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "InterferometrySection", "UVTrack"]


class UVTrack(Section):
    """What stations see of a source while the Earth turns, and their thermal noise."""

    stations: FilePath = Field(
        description="text table, a line 'name X Y Z SEFD' per station: geocentric metres, jansky"
    )
    right_ascension: float = Field(ge=0, lt=24, description="of the source, hours")
    declination: float = Field(ge=-90, le=90, description="of the source, degrees")
    frequency: float = Field(gt=0, description="observing frequency, hertz")
    start: float = Field(description="first sidereal time at Greenwich (GMST), hours")
    stop: float = Field(description="last sidereal time at Greenwich (GMST), hours; beyond 24 for the next day")
    cadence: float = Field(gt=0, description="minutes from one visibility of a pair of stations to its next")
    bandwidth: float = Field(gt=0, description="averaged into one visibility, hertz")
    integration: float = Field(gt=0, description="averaged into one visibility, seconds")
    minimum_elevation: float = Field(10.0, ge=-90, lt=90, description="degrees above the horizon of each station")


class InterferometrySection(Section):
    """Radio interferometry: Fourier coefficients of a patch of the sky, whitened, real and imaginary, as (2, 1, M)."""

    kind: Literal["interferometry"] = Field(
        "interferometry", description="the imaging system; another kind has other keys"
    )
    pixels: int = Field(ge=1, le=2**13, description="width and height of the image in pixels")
    field_of_view: float = Field(gt=0, description="width and height of the image, edge to edge, microarcseconds")
    brightness: float = Field(
        1.0, gt=0, le=1e12, description="jansky per pixel that the value 1 of an image stands for"
    )
    uvfits: FilePath | None = Field(
        None, description="UVFITS file with the points (u, v) and the noise; or else give track"
    )
    track: UVTrack | None = Field(
        None, description="points (u, v) and noise of stations that follow a source; or else give uvfits"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "InterferometrySection":
        if (self.uvfits is None) == (self.track is None):
            raise ValueError("give either uvfits or track, where the points (u, v) come from")
        return self


def image_units(section: InterferometrySection) -> ImageUnits:
    """Return what the section says of images: jansky per pixel, and microarcseconds."""
    return ImageUnits(0.0, section.brightness, "Jy per pixel", section.field_of_view / section.pixels, "µas")


INSTRUMENT = Instrument(
    section=InterferometrySection,
    build="unveil.instruments.interferometry.operator:build_interferometry",
    example="unveil.instruments.interferometry.example:interferometry",
    settings={
        "loss": {"symmetry": ["rotate"], "scales": [1], "camera": 1.0, "nonnegative": True},
        "estimator": {"std": 0.3},
    },
    keys=("pixels", "field_of_view", "uvfits"),
    mean=0.0,
    prior="white",
    level_shows=False,
    scale="unveil.instruments.interferometry.observations:find_scale",
    units=image_units,
    check="unveil.instruments.interferometry.observations:check_source",
    scales=True,
    doubts="unveil.instruments.interferometry.field:doubts",
)
"""Turned images are seen at other points (u, v)."""
