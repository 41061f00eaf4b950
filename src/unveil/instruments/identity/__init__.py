"""The images themselves, with noise. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.sections import Section

__all__ = ["INSTRUMENT", "Identity"]


class Identity(Section):
    """The measurements are the images themselves, with noise."""

    kind: Literal["identity"] = Field("identity", description="the imaging system; another kind has other keys")


INSTRUMENT = Instrument(
    section=Identity,
    build="unveil.instruments.identity.build:identity",
    same_grid=True,
    sees_all=True,
    scales=True,
)
