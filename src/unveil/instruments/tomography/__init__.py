"""Parallel rays. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "Axis", "TomographySection"]


Axis = float | Literal["centre", "astra", "tomopy", "scikit-image"]
"""Where the axis of rotation is, as `unveil.operators.tomography` says."""


class TomographySection(Section):
    """Sinograms of parallel rays, of shape (detectors, angles)."""

    kind: Literal["tomography"] = Field("tomography", description="the imaging system; another kind has other keys")
    angles: FilePath | None = Field(
        None, description=".npy, (T,) in degrees, counterclockwise; null: 180 degrees divided equally"
    )
    width: int | None = Field(
        None, ge=2, le=2**16, description="of the image, in detectors; null: as many as there are detectors"
    )
    axis: Axis = Field(
        "centre",
        description="of rotation: centre (astra and tomopy are the same), scikit-image (pixel D // 2 of D detectors, W "
        "// 2 of the "
        "image), or the number of its pixel on the detector, the middle of the first being 0",
    )


INSTRUMENT = Instrument(
    section=TomographySection,
    build="unveil.instruments.tomography.operator:build_tomography",
    example="unveil.instruments.tomography.example:sinograms",
    settings={"loss": {"symmetry": ["rotate"]}, "estimator": {"iterations": 2}},
    keys=("angles",),
    prior="white",
    doubts="unveil.instruments.tomography.sinograms:doubts",
)
"""Turned slices are seen along other rays."""
