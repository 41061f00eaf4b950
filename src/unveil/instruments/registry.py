"""Every kind of instrument: one line adds it to `init`, `check`, help, the tests and the configuration.

No heavy imports.
"""

from typing import Annotated, Any

from pydantic import Field

from unveil.instruments import (
    blur,
    cryoem,
    demosaicing,
    identity,
    inpainting,
    interferometry,
    mri,
    super_resolution,
    tomography,
)
from unveil.instruments.instrument import Instrument, load

__all__ = ["INSTRUMENTS", "OperatorSection", "build_operator"]

INSTRUMENTS: dict[str, Instrument] = {
    found.kind: found
    for found in (
        identity.INSTRUMENT,
        inpainting.INSTRUMENT,
        demosaicing.INSTRUMENT,
        blur.INSTRUMENT,
        super_resolution.INSTRUMENT,
        tomography.INSTRUMENT,
        mri.INSTRUMENT,
        interferometry.INSTRUMENT,
        cryoem.INSTRUMENT,
    )
}
"""Kind -> what is known of it."""

OperatorSection = Annotated[
    identity.Identity
    | inpainting.InpaintingSection
    | demosaicing.DemosaicingSection
    | blur.BlurSection
    | super_resolution.SuperResolutionSection
    | tomography.TomographySection
    | mri.MRISection
    | interferometry.InterferometrySection
    | cryoem.CryoEMSection,
    Field(discriminator="kind"),
]
"""The section of a configuration that says which instrument measured the data."""


def build_operator(section: Any, shape: tuple[int, int, int], count: int) -> Any:
    """Return the `Operator` of `count` measurements y of shape (C, H, W).

    Raises UnveilError, naming the key of the section, when a file is missing or does not fit the measurements.
    """
    return load(INSTRUMENTS[section.kind].build)(section, shape, count)
