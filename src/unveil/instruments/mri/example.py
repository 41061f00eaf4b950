"""A third of k-space, of round grey photographs that stand in for slices."""

from pathlib import Path

import torch

from unveil.instruments.example import SIDE, Example
from unveil.instruments.mri.masks import cartesian_mask
from unveil.instruments.mri.operator import mri
from unveil.instruments.photographs import round_grey, windows
from unveil.random import make_generator

__all__ = ["k_space"]


def k_space(folder: Path) -> Example:
    x = round_grey(windows())
    mask = cartesian_mask(SIDE, SIDE, 3, 0.12, make_generator("cpu", 2))
    return Example(
        images=torch.cat([x, torch.zeros_like(x)], 1),
        operator=mri(mask),
        sigma=0.03,
        section={"mask": str(folder / "mask.npy")},
        files={"mask.npy": mask.numpy()},
        about="a third of k-space by a single coil, of round grey photographs that stand in for slices",
    )
