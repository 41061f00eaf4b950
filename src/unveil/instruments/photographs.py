"""Windows of the photographs that come with scikit-image, for the examples of instruments that measure such scenes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unveil.data import heldout_photographs, training_photographs
from unveil.instruments.example import COUNT, HELDOUT, SIDE
from unveil.random import make_generator

__all__ = ["round_grey", "windows"]


def windows() -> Tensor:
    """Return x (COUNT + HELDOUT, 3, SIDE, SIDE) in [0, 1], the last ones of photographs that the others do not show."""
    return torch.cat([cut(training_photographs(), COUNT, 1), cut(heldout_photographs(), HELDOUT, 2)])


def cut(photographs: Mapping[str, Tensor], count: int, seed: int) -> Tensor:
    """Cut `count` windows at random places, of each photograph in turn."""
    images = list(photographs.values())
    places = torch.rand(count, 2, generator=make_generator("cpu", seed)).tolist()
    found = []
    for i, (down, across) in enumerate(places):
        x = images[i % len(images)]
        top, left = int(down * (x.shape[1] - SIDE + 1)), int(across * (x.shape[2] - SIDE + 1))
        found.append(x[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(found)


def round_grey(x: Tensor) -> Tensor:
    """Return x as (N, 1, SIDE, SIDE), empty outside the inscribed circle.

    Only of such images are rotations and dilations right.
    """
    at = torch.linspace(-1, 1, SIDE)
    radius = (at**2 + at[:, None] ** 2).sqrt()
    return x.mean(1, keepdim=True) * ((0.95 - radius) / 0.15).clamp(0, 1)
