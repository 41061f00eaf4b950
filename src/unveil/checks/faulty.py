"""Which pixels are faulty: saturated, where values pile up at the top, or dead or hot, in the same place in all images.

Saturated: the share of the pixels at the greatest value, where noise as stated would go beyond it. Faulty places: those
that stand alone (`unveil.checks.values`), off their eight neighbours, in at least PART of the images and in FEWEST;
detail moves from image to image, the detector's pixels do not, but show only where the scene is of another brightness.
Of fewer than FEWEST images nothing is said.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.checks.look import filled, spread
from unveil.checks.quiet import local_mean
from unveil.checks.values import alone, piled_up
from unveil.data import ImageSource
from unveil.noise import Noise
from unveil.random import make_generator

__all__ = ["dead_pixels", "saturated_from"]

LEAST = 5e-5
"""Share of the pixels: fewer at the top are chance."""
FEWEST, PART = 3, 0.2
MOST = 0.02
"""Share of the pixels: more are no faults of a detector, but images that were exposed too long.

Their noise is cut off in too many places, and the error is where it cannot be seen.
"""
_KEY = 1019


def saturated_from(images: Sequence[Tensor], noise: Noise) -> float | None:
    """Return the value from which pixels of images (C, H, W) are saturated, in their units; None of none, or of many.

    noise: in the same units; where its parameters are one per sample, image i has the i-th.
    """
    generator = make_generator("cpu", 0, _KEY)
    drawn = [noise.select(torch.tensor([i])).sample(local_mean(y)[None], generator)[0] for i, y in enumerate(images)]
    y, others = (torch.cat([x.flatten() for x in several]) for several in (list(images), drawn))
    return float(y.max()) if LEAST < piled_up(y, others, y.max(), 1) < MOST else None


def dead_pixels(source: ImageSource, noise: Noise) -> Tensor | None:
    """Return where the detector's pixels are faulty, boolean (C, H, W); None where none is, or it cannot be told.

    noise: in the units of the images; where its parameters are one per sample, image i has the i-th.
    Raises what `source.read` raises.
    """
    which = spread(len(source))
    if len(which) < FEWEST or len({source.shape(i) for i in which}) > 1:
        return None
    times = torch.zeros(source.shape(0))
    for i in which:
        times += alone(filled(source.read(i)), noise.select(torch.tensor([i])), 0.0)
    dead = times >= max(FEWEST, PART * len(which))
    return dead if 0 < float(dead.double().mean()) < MOST else None
