"""Sinograms at few angles, of slices made of ellipses."""

import math
from pathlib import Path

import torch
from torch import Tensor

from unveil.instruments.example import COUNT, HELDOUT, Example
from unveil.instruments.tomography.operator import tomography
from unveil.random import make_generator

__all__ = ["ellipses", "sinograms"]

WIDTH = 40
ANGLES = 16


def sinograms(folder: Path) -> Example:
    angles = torch.arange(ANGLES, dtype=torch.float64) * 180 / ANGLES
    return Example(
        images=ellipses(COUNT + HELDOUT, WIDTH, make_generator("cpu", 1)),
        operator=tomography(angles, WIDTH),  # detectors enough for the corners too
        sigma=0.01,
        section={"width": WIDTH},
        about=f"projections of bodies made of ellipses, at {ANGLES} angles",
    )


def ellipses(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw x (count, 1, side, side) in [0, 1]: a body of 0.4, and in it ten ellipses that are darker or brighter.

    Edges are a pixel wide. Nothing lies outside the circle inscribed in the image.
    """
    axis = torch.linspace(-1, 1, side)

    def inside(x0: float, y0: float, a: float, b: float, angle: float) -> Tensor:
        x, y = axis - x0, axis[:, None] - y0
        u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        radius = ((u / a) ** 2 + (v / b) ** 2).sqrt()
        return ((1 - radius) * min(a, b) * side / 2 + 0.5).clamp(0, 1)

    drawn = []
    for numbers in torch.rand(count, 11, 6, generator=generator).tolist():
        _, _, a, b, turn, _ = numbers[0]
        body = inside(0, 0, 0.65 + 0.2 * a, 0.65 + 0.2 * b, math.pi * turn)
        image = 0.4 * body
        for x0, y0, a, b, turn, contrast in numbers[1:]:
            part = inside(1.2 * x0 - 0.6, 1.2 * y0 - 0.6, 0.05 + 0.2 * a, 0.05 + 0.2 * b, math.pi * turn)
            image = image + (0.6 * contrast - 0.3) * part * body
        drawn.append(image.clamp(0, 1))
    return torch.stack(drawn)[:, None]
