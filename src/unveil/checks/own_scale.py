"""Should these images be learned from at several scales? The check of `unveil.checks.scale` on a data set."""

from collections.abc import Sequence

import torch

from unveil.checks.contradictions import mean_of
from unveil.checks.look import filled, middle, spread
from unveil.checks.scale import scale_invariance
from unveil.data import ImageSource
from unveil.noise import Noise

__all__ = ["own_scale"]


def own_scale(source: ImageSource, noise: Noise, scales: Sequence[int], crop: int) -> str | None:
    """Return why images should not be learned from at `scales`, else None.

    None where they may be, or where none is larger than 1 and fits.

    noise: of the images, at exposure 1. crop: side of the crops, pixels.
    """
    smallest, _ = source.smallest()
    if not any(1 < k <= smallest / crop for k in scales):
        return None
    which = spread(len(source))
    parts = [filled(source.read(i, middle(source.shape(i)))) for i in which]
    # noise that depends on the signal: the energies of noise add up, whatever they are of
    each = [
        noise.select(torch.tensor([i])).window(middle(source.shape(i))).level(part[None], mean_of)
        for i, part in zip(which, parts)
    ]
    variance = sum(float(level) ** 2 for level in each) / len(parts)
    check = scale_invariance(parts, variance**0.5)
    return check.explanation if check.verdict == "own scale" else None
