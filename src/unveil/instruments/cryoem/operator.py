"""Cryo-EM particles: images x of single molecules, each blurred by the microscope's contrast transfer function.

    y = F^-1 CTF F x + n

A is a circular convolution, symmetric because the CTF is real and even. It is blind where the CTF is zero, at rings
that move with the defocus, and nearly blind at low frequencies: at frequency zero |CTF| is the amplitude contrast.
"""

from typing import Self

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.cryoem import CryoEMSection
from unveil.instruments.cryoem.ctf import Optics, ctf
from unveil.instruments.cryoem.ctf_table import read_ctf_table
from unveil.operators.convolution import Convolution

__all__ = ["CUTOFF", "ContrastTransfer", "build_cryoem", "particles"]

CUTOFF = 1e-3
"""|CTF| below which `A_dagger` counts a frequency as not measured."""


class ContrastTransfer(Convolution):
    """Multiplication by the CTF of `optics`, of all images or of each; found when it is needed first."""

    kind = "cryoem"
    rows = ("measured", "parameters")

    def __init__(self, shape: tuple[int, int], optics: Optics) -> None:
        self.image_shape = self.measurement_shape = (1, *shape)
        self.shape, self.cutoff = shape, CUTOFF
        self.names = tuple(optics.rows())
        self.parameters = torch.stack([value.reshape(-1) for value in optics.rows().values()], 1)  # (1 or N, 8)

    def response(self) -> Tensor:
        """Return the response (1 or N, 1, H, W // 2 + 1), real and even."""
        if "transfer" not in self.cache:
            shape = self.shape
            values = ctf(shape, Optics(**dict(zip(self.names, self.parameters.unbind(1)))))
            self.cache["transfer"] = values[:, None, :, : shape[1] // 2 + 1]
        found: Tensor = self.cache["transfer"]
        return found

    def select(self, which: Tensor) -> Self:
        part = super().select(which)
        return part if part.parameters is self.parameters else part._like(cache={})


def particles(shape: tuple[int, int], optics: Optics) -> ContrastTransfer:
    """Return the operator of particle images x (1, H, W), for which y has the same shape.

    shape: (H, W), pixels. optics: of all images, or of each of N. The scale of y is free: x has it too.
    The molecule must be so far from the image's border that what the CTF spreads out of the image may come in on the
    other side.
    """
    return ContrastTransfer(shape, optics)


def build_cryoem(section: CryoEMSection, shape: tuple[int, int, int], count: int) -> ContrastTransfer:
    """Return the operator that a configuration describes, for `count` measurements of `shape` (1, H, W).

    Raises UnveilError when the images have channels, a parameter is missing or given twice, or the table does not have
    one row for each measurement.
    """
    if shape[0] != 1:
        raise UnveilError(f"system: particles are images of one channel, and the measurements have {shape[0]}")
    table = {} if section.table is None else read_ctf_table(section.table, "operator.table")
    given = section.model_dump(exclude={"kind", "table"}, exclude_none=True)
    for name in given:
        if name in table:
            raise UnveilError(
                f"operator.{name} is given, and {section.table} has a column for it: leave it out of the configuration"
            )
    for name in ("pixel_size", "voltage", "cs", "amplitude_contrast", "defocus_u"):
        if name not in given and name not in table:
            raise UnveilError(
                f"operator.{name} is missing, and no table has a column for it: add it to the configuration"
            )
    rows = len(next(iter(table.values()))) if table else count
    if rows != count:
        raise UnveilError(
            f"operator.table: {section.table} has {rows} rows, and there are {count} measurements: give one row for "
            "each, in their order"
        )
    return particles((shape[1], shape[2]), Optics(**given, **table))
