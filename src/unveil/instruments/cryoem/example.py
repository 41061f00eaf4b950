"""Particles in random directions through one astigmatic lens.

The zeros of its contrast transfer function lie on ellipses, which turned particles cross: a round function would need
several defoci, in a table with one row a particle, to show what one of them misses.
"""

from pathlib import Path

import torch
from torch import Tensor

from unveil.instruments.cryoem.ctf import Optics
from unveil.instruments.cryoem.operator import particles
from unveil.instruments.cryoem.volume import random_rotations
from unveil.instruments.example import COUNT, HELDOUT, Example
from unveil.random import make_generator

__all__ = ["cryoem", "projections"]

SIDE = 48
OPTICS = {
    "pixel_size": 4.0,
    "voltage": 300.0,
    "cs": 2.7,
    "amplitude_contrast": 0.1,
    "defocus_u": 22000.0,
    "defocus_v": 16000.0,
    "defocus_angle": 30.0,
}
SNR = 0.3
"""Variance of A x over that of the noise."""


def cryoem(folder: Path) -> Example:
    x = projections(COUNT + HELDOUT, SIDE, make_generator("cpu", 1))
    operator = particles((SIDE, SIDE), Optics(**OPTICS))
    return Example(
        images=x,
        operator=operator,
        sigma=round(float((operator.A(x).var() / SNR).sqrt()), 4),
        section=OPTICS,
        about="particles of a made-up molecule in random directions, of one astigmatic defocus",
    )


def projections(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw x (count, 1, side, side), the molecule's projections: 100 Gaussian blobs, turned about their centre of mass.

    A projection of a round Gaussian is one, around the projected centre: no volume is needed. The highest value is 1.
    """
    centres = 0.14 * side * torch.randn(100, 3, generator=generator)
    centres = centres - centres.mean(0)
    centres = centres * (0.3 * side / centres.norm(dim=1, keepdim=True)).clamp(max=1)
    turned = (random_rotations(count, generator) @ centres.T)[:, :2]  # (count, 2, 100)
    axis = torch.arange(side) - side / 2
    across, down = (torch.exp(-((axis - c[..., None]) ** 2) / (2 * 1.5**2)) for c in turned.unbind(1))
    x = down.mT @ across
    return (x / x.amax())[:, None]
