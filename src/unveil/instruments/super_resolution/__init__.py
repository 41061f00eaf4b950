"""Coarse pixels. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "SuperResolutionSection"]


class SuperResolutionSection(Section):
    """Coarse pixels: an antialiasing kernel, then one pixel kept of factor x factor."""

    kind: Literal["super_resolution"] = Field(
        "super_resolution", description="the imaging system; another kind has other keys"
    )
    factor: int = Field(description="side of a coarse pixel, in pixels of the image", ge=2, le=64)
    kernel: FilePath | None = Field(
        None, description="PNG or .npy, (h, w) in pixels of the image; it is divided by its sum. null: bicubic"
    )


INSTRUMENT = Instrument(
    section=SuperResolutionSection,
    build="unveil.instruments.super_resolution.operator:build_super_resolution",
    example="unveil.instruments.super_resolution.example:coarse",
    settings={"loss": {"symmetry": ["rotate", "scale"]}},
    keys=("factor",),
)
"""What coarse pixels remove is seen in smaller images of the same kind, whose details are as fine (Scanvic et al.,
Scale-equivariant imaging, 2023, https://arxiv.org/abs/2312.11232)."""
