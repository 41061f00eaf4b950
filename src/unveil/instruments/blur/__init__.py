"""Blurred images. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "BlurSection"]


class BlurSection(Section):
    """A blur that is known and the same everywhere."""

    kind: Literal["blur"] = Field("blur", description="the imaging system; another kind has other keys")
    kernel: FilePath | None = Field(
        None, description="PNG or .npy, (h, w): the picture of a point; it is divided by its sum. This or std"
    )
    std: float | None = Field(None, gt=0, le=256, description="of a Gaussian kernel, in pixels. This or kernel")


INSTRUMENT = Instrument(
    section=BlurSection,
    build="unveil.instruments.blur.operator:build_blur",
    example="unveil.instruments.blur.example:blurred",
    settings={"loss": {"symmetry": ["rotate", "scale"]}},
    keys=("kernel",),
    same_grid=True,
)
"""What a round blur removes is seen in smaller images of the same kind, whose details are as fine (Scanvic et al.,
Scale-equivariant imaging, 2023, https://arxiv.org/abs/2312.11232); turns teach where the kernel has directions."""
