"""Windows of the photographs that come with scikit-image, seen by the systems that measure such scenes."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unveil.cli.examples.base import COUNT, HELDOUT, SIDE, Example
from unveil.data import heldout_photographs, training_photographs
from unveil.operators import blur, cartesian_mask, demosaicing, inpainting, mri, random_mask, super_resolution
from unveil.random import make_generator

__all__ = ["blurred", "coarse", "k_space", "missing_pixels", "mosaics"]


def missing_pixels(folder: Path) -> Example:
    x = windows()
    mask = random_mask(SIDE, SIDE, 0.7, make_generator("cpu", 2))
    return Example(
        images=x,
        operator=inpainting(mask, x.shape[1]),
        sigma=0.05,
        system={"mask": str(folder / "mask.npy")},
        files={"mask.npy": mask.numpy()},
        about="photographs of which one mask misses three pixels in ten",
    )


def mosaics(folder: Path) -> Example:
    return Example(
        images=windows(),
        operator=demosaicing(SIDE, SIDE, "RGGB"),
        sigma=0.05,
        system={"pattern": "RGGB"},
        about="photographs through the colour filters of a camera",
    )


def k_space(folder: Path) -> Example:
    x = round_grey(windows())
    mask = cartesian_mask(SIDE, SIDE, 3, 0.12, make_generator("cpu", 2))
    return Example(
        images=torch.cat([x, torch.zeros_like(x)], 1),
        operator=mri(mask),
        sigma=0.03,
        system={"mask": str(folder / "mask.npy")},
        files={"mask.npy": mask.numpy()},
        about="a third of k-space by a single coil, of round grey photographs that stand in for slices",
    )


def blurred(folder: Path) -> Example:
    """Moved along a line and a half pixel out of focus: a kernel that a quarter turn changes."""
    at = torch.arange(9.0) - 4
    along = torch.linspace(-3.5, 3.5, 29)[:, None, None]
    distance = (at - along) ** 2 + (at[:, None] - along / 2) ** 2
    kernel = torch.exp(-distance / (2 * 0.5**2)).sum(0)
    kernel = kernel / kernel.sum()
    return Example(
        images=round_grey(windows()),
        operator=blur(kernel, SIDE, SIDE),
        sigma=0.02,
        system={"kernel": str(folder / "kernel.npy")},
        files={"kernel.npy": kernel.numpy()},
        about="round photographs by a camera that moved while the shutter was open",
    )


def coarse(folder: Path) -> Example:
    return Example(
        images=round_grey(windows()),
        operator=super_resolution(2, SIDE, SIDE),
        sigma=0.02,
        system={"factor": 2},
        about="round photographs at half their resolution",
    )


def windows() -> Tensor:
    """x (COUNT + HELDOUT, 3, SIDE, SIDE) in [0, 1], the last ones of photographs that the others do not show."""
    return torch.cat([cut(training_photographs(), COUNT, 1), cut(heldout_photographs(), HELDOUT, 2)])


def cut(photographs: Mapping[str, Tensor], count: int, seed: int) -> Tensor:
    """`count` windows at random places, of each photograph in turn."""
    images = list(photographs.values())
    places = torch.rand(count, 2, generator=make_generator("cpu", seed)).tolist()
    found = []
    for i, (down, across) in enumerate(places):
        x = images[i % len(images)]
        top, left = int(down * (x.shape[1] - SIDE + 1)), int(across * (x.shape[2] - SIDE + 1))
        found.append(x[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(found)


def round_grey(x: Tensor) -> Tensor:
    """(N, 1, SIDE, SIDE), empty outside the inscribed circle: only of such images are rotations and dilations right."""
    at = torch.linspace(-1, 1, SIDE)
    radius = (at**2 + at[:, None] ** 2).sqrt()
    return x.mean(1, keepdim=True) * ((0.95 - radius) / 0.15).clamp(0, 1)
