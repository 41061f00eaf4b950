"""Round photographs by a camera that moved."""

from pathlib import Path

import torch

from unveil.instruments.blur.operator import blur
from unveil.instruments.example import SIDE, Example
from unveil.instruments.photographs import round_grey, windows

__all__ = ["blurred"]


def blurred(folder: Path) -> Example:
    """Simulate images moved along a line and a half pixel out of focus: a kernel that a quarter turn changes."""
    at = torch.arange(9.0) - 4
    along = torch.linspace(-3.5, 3.5, 29)[:, None, None]
    distance = (at - along) ** 2 + (at[:, None] - along / 2) ** 2
    kernel = torch.exp(-distance / (2 * 0.5**2)).sum(0)
    kernel = kernel / kernel.sum()
    return Example(
        images=round_grey(windows()),
        operator=blur(kernel, SIDE, SIDE),
        sigma=0.02,
        section={"kernel": str(folder / "kernel.npy")},
        files={"kernel.npy": kernel.numpy()},
        about="round photographs by a camera that moved while the shutter was open",
    )
