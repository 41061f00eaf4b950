"""Cryo-electron microscopy. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field, model_validator

from unveil.errors import UnveilError
from unveil.instruments.instrument import ImageUnits, Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "CryoEMSection"]


class CryoEMSection(Section):
    """Particles seen through the contrast transfer function. What the table has a column for is left out here."""

    kind: Literal["cryoem"] = Field("cryoem", description="the imaging system; another kind has other keys")
    pixel_size: float | None = Field(None, ge=1e-3, description="of the images, angstrom; null: in the table")
    voltage: float | None = Field(None, ge=1e-3, description="of the electrons, kilovolt; null: in the table")
    cs: float | None = Field(None, description="spherical aberration, millimetre; null: in the table")
    amplitude_contrast: float | None = Field(None, ge=0, le=1, description="a fraction; null: in the table")
    defocus_u: float | None = Field(
        None, description="of all images, angstrom, positive under focus; null: in the table"
    )
    defocus_v: float | None = Field(None, description="the other principal defocus, angstrom; null: none but defocus_u")
    defocus_angle: float | None = Field(None, description="from the x axis to defocus_u, degrees; null: 0")
    phase_shift: float | None = Field(None, description="of a phase plate, degrees; null: 0")
    table: FilePath | None = Field(
        None, description="RELION .star, or .csv with these names, one row per measurement and in their order"
    )

    @model_validator(mode="after")
    def _defocus(self) -> "CryoEMSection":
        if self.defocus_u is None and self.table is None:
            raise ValueError("give defocus_u, or a table with the defocus of each measurement")
        return self


def image_units(section: CryoEMSection) -> ImageUnits:
    """Return the side of a pixel as the section states it, or as its table does where all particles have one."""
    size = section.pixel_size
    if size is None and section.table is not None:
        from unveil.instruments.cryoem.ctf_table import read_ctf_table

        try:
            found = read_ctf_table(section.table, "operator.table").get("pixel_size", ())
            sizes = {round(float(one), 6) for one in found}
        except UnveilError:  # of a table that is gone the results are there all the same
            sizes = set()
        size = sizes.pop() if len(sizes) == 1 else None
    return ImageUnits(pixel=size, pixel_unit="Å")


INSTRUMENT = Instrument(
    section=CryoEMSection,
    build="unveil.instruments.cryoem.operator:build_cryoem",
    example="unveil.instruments.cryoem.example:cryoem",
    settings={
        "loss": {
            "symmetry": ["rotate", "flip"],
            "normalized": 0.0,
            "equivariance": 0.0,
            "hidden": 0.0,
            "camera": 0.03,
        },
        "estimator": {"iterations": 2},
    },
    keys=("table",),
    mean=0.0,
    same_grid=True,
    units=image_units,
    table=lambda section: section.table,
    complete="unveil.instruments.cryoem.inside:complete",
    check="unveil.instruments.cryoem.agree:check_stacks",
    doubts="unveil.instruments.cryoem.agree:doubts",
)
"""Particles have one contrast, and a fraction of it drowns in their noise: they are not normalized; and their
background, which the CTF hardly lets through, drifts under equivariant imaging, while several defoci see everything
without it. The weight of draws beside a camera is that of .03 to 1 whose estimate errs least on a validation split."""
