"""Cryo-EM particles: images x of single molecules, each blurred by the microscope's contrast transfer function.

    y = F^-1 CTF F x + n

A is a circular convolution, symmetric because the CTF is real and even. It is blind where the CTF is zero, at rings that move
with the defocus, and nearly blind at low frequencies: at frequency zero |CTF| is the amplitude contrast.
"""

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from unveil.errors import UnveilError
from unveil.operators.ctf import Optics, ctf
from unveil.operators.ctf_table import read_ctf_table
from unveil.problem import Problem, Several
from unveil.systems import CryoEMSystem

__all__ = ["CUTOFF", "build_cryoem", "particles"]

CUTOFF = 1e-3
"""|CTF| below which `A_dagger` counts a frequency as not measured."""


class ContrastTransfer(LinearPhysics):
    """Multiplication by `transfer` (1 or B, 1, H, W), real and even, at the frequencies of `torch.fft.fft2`."""

    def __init__(self, transfer: Tensor) -> None:
        super().__init__()
        self.shape = transfer.shape[-2:]
        self.register_buffer("transfer", transfer[..., : self.shape[1] // 2 + 1])

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        """A x (B, 1, H, W)."""
        return self._multiply(x, self.transfer)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        """A^T y = A y (B, 1, H, W)."""
        return self._multiply(y, self.transfer)

    def A_dagger(self, y: Tensor, **kwargs: object) -> Tensor:
        """A^+ y (B, 1, H, W): divides by the CTF, and sets to zero the frequencies where |CTF| < CUTOFF.

        Exact up to those. Noise grows by 1 / |CTF|, up to a thousandfold: no estimate of x from noisy measurements.
        """
        transfer = self.transfer.to(y.dtype)
        seen = transfer.abs() >= CUTOFF
        return self._multiply(y, torch.where(seen, 1 / torch.where(seen, transfer, 1), 0))

    def _multiply(self, x: Tensor, factor: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * factor.to(x.dtype), s=self.shape)


def particles(shape: tuple[int, int], optics: Optics) -> Problem | Several:
    """The problem of particle images x (1, H, W), for which y has the same shape.

    shape: (H, W), pixels. optics: of all images, or of each of N (then this is `Several`). The scale of y is free: x has it too.
    The molecule must be so far from the image's border that what the CTF spreads out of the image may come in on the other side.
    """
    rows = optics.rows()
    if rows["defocus_u"].ndim:
        return Several(rows, lambda **rows: _problem(shape, Optics(**rows)))
    return _problem(shape, optics)


def _problem(shape: tuple[int, int], optics: Optics) -> Problem:
    transfer = ctf(shape, optics).reshape(-1, 1, *shape)
    return Problem(ContrastTransfer(transfer), image_shape=(1, *shape), measurement_shape=(1, *shape))


def build_cryoem(system: CryoEMSystem, shape: tuple[int, int, int], count: int) -> Problem | Several:
    """The problem that a configuration describes, for `count` measurements of `shape` (1, H, W).

    Raises UnveilError when the images have channels, a parameter is missing or given twice, or the table does not have one
    row for each measurement.
    """
    if shape[0] != 1:
        raise UnveilError(f"system: particles are images of one channel, and the measurements have {shape[0]}")
    table = {} if system.table is None else read_ctf_table(system.table, "system.table")
    given = system.model_dump(exclude={"kind", "table"}, exclude_none=True)
    for name in given:
        if name in table:
            raise UnveilError(
                f"system.{name} is given, and {system.table} has a column for it: leave it out of the configuration"
            )
    for name in ("pixel_size", "voltage", "cs", "amplitude_contrast", "defocus_u"):
        if name not in given and name not in table:
            raise UnveilError(
                f"system.{name} is missing, and no table has a column for it: add it to the configuration"
            )
    rows = len(next(iter(table.values()))) if table else count
    if rows != count:
        raise UnveilError(
            f"system.table: {system.table} has {rows} rows, and there are {count} measurements: give one row for each, in their order"
        )
    return particles((shape[1], shape[2]), Optics(**given, **table))
