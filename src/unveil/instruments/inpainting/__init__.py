"""Missing pixels. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "InpaintingSection"]


class InpaintingSection(Section):
    """Missing pixels: the entries of the measurements that the mask does not select are ignored."""

    kind: Literal["inpainting"] = Field("inpainting", description="the imaging system; another kind has other keys")
    mask: FilePath = Field(
        description="PNG, .npy or HDF5 (FILE.h5:DATASET), (H, W) or one mask per measurement (N, H, W); 0 where a "
        "pixel is missing"
    )


INSTRUMENT = Instrument(
    section=InpaintingSection,
    build="unveil.instruments.inpainting.operator:build_inpainting",
    example="unveil.instruments.inpainting.example:missing_pixels",
    settings={"loss": {"symmetry": ["shift"]}},
    keys=("mask",),
    level_shows=False,
    same_grid=True,
)
"""Missing pixels are seen in shifted images."""
