"""Do a table of particles and their stacks say the same, in the units that are asked for?

Stacks are binned and tables are not, or the other way round: the contrast transfer function is then of another scale,
and every zero of it at a wrong frequency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unveil.errors import warn
from unveil.instruments.cryoem import CryoEMSection
from unveil.instruments.cryoem.ctf_table import box_sides, read_ctf_table
from unveil.instruments.cryoem.operator import ContrastTransfer
from unveil.operators.base import Operator
from unveil.words import spanned

if TYPE_CHECKING:
    from unveil.data import ImageSource

__all__ = ["check_stacks", "doubts"]

SAME = 1.02
"""The ratio of two pixel sizes up to which they are one: calibrations move by a percent."""
UNSET = 1.0
"""Angstrom: what many programs write into the header of MRC files where they do not know the pixel."""
LEAST_DEFOCUS, MOST_VOLTAGE = 100.0, 5000.0
"""Angstrom and kilovolt, beyond which these are in micrometres, and in volts."""


def check_stacks(section: CryoEMSection, source: ImageSource) -> None:
    """Warn where images are not of the size or of the pixels that the table states. Raises what its reader raises."""
    from unveil.data.pixel_size import pixel_size  # which comes after the operators

    table = {} if section.table is None else read_ctf_table(section.table, "operator.table")
    sides = set() if section.table is None else box_sides(section.table)
    side = source.shape(0)[2]
    if sides and side not in sides:
        warn(
            f"{section.table} states images of {min(sides)} pixels a side, and {source.where(0)} has {side}: give the "
            "table of these images, with their rlnImagePixelSize"
        )
        return
    stated = table.get("pixel_size", None if section.pixel_size is None else torch.tensor([section.pixel_size]))
    if stated is None:
        return
    low, high = float(stated.min()), float(stated.max())
    for file in source.files():
        found = pixel_size(file)
        if found is not None and found[1] == "Å" and found[0] != UNSET and not low / SAME <= found[0] <= high * SAME:
            warn(
                f"{file} has pixels of {found[0]:.4g} angstrom in its header, and {spanned(low, high)} is stated: "
                "check whether the images were binned; the contrast transfer function is that of the stated one"
            )
            return


def doubts(y: Tensor, operator: Operator, sigma: float | None) -> list[str | None]:
    """Return lines where defocus or voltage seem to be in other units."""
    if not isinstance(operator, ContrastTransfer):
        return []
    values = dict(zip(operator.names, operator.parameters.abs().amax(0)))
    lines: list[str | None] = []
    defocus = max(float(values["defocus_u"]), float(values["defocus_v"]))
    if defocus < LEAST_DEFOCUS:
        lines.append(
            f"the defocus is at most {defocus:.3g} angstrom: is it in micrometres? Multiply it by 10,000, or nothing "
            "is undone"
        )
    if (voltage := float(values["voltage"])) > MOST_VOLTAGE:
        lines.append(f"the voltage is {voltage:.3g} kilovolt: is it in volts? Divide it by 1,000")
    return lines
