"""Should these images be learned from at several scales? The check of `unveil.checks.scale` on a data set."""

from collections.abc import Sequence

from unveil.checks.look import middle, spread
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
    parts = [source.read(i, middle(source.shape(i))) for i in spread(len(source))]
    # noise that depends on the signal: the energies of noise add up, whatever they are of
    variance = sum(float(noise.level(part[None], lambda y: y.flatten(1).mean(1))) ** 2 for part in parts) / len(parts)
    check = scale_invariance(parts, variance**0.5)
    return check.explanation if check.verdict == "own scale" else None
