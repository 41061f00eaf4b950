"""Does the mask say where the data are? Measurements are often stored with zeros where nothing was measured.

Noise makes no zeros: an entry that is zero in every measurement, though the mask calls it measured, contradicts the
mask.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["mask_line"]

FEW = 0.02
"""The share of entries that may be zero, or not zero, by chance."""
STEADY = 0.9
"""Of the entries that are zero in some image, the share that is so in all, from which it is not for what the images
show."""


def mask_line(y: Tensor, measured: Tensor | None, centred: bool) -> str | None:
    """Return what contradicts `measured`; None where the measurements y (B, C, H, W) agree with it.

    measured: boolean, broadcastable to y.

    centred: whether these are Fourier coefficients, the zero frequency in the middle, which no image makes zero.
    """
    if measured is None:
        return None
    mask = measured.expand(-1, 1, *y.shape[-2:])[:, 0]  # (1 or B, H, W)
    zero = (y == 0).all(1)
    steady = len(y) > 1 and len(mask) == 1 and float(zero.all(0).sum()) > STEADY * float(zero.any(0).sum())
    filled = ~(zero.all(0, keepdim=True) if len(mask) == 1 else zero)
    if not bool(filled.any()):
        return "the measurements looked at are 0 everywhere: check data.path and the file"
    empty = share(~filled, mask)
    if empty <= FEW:
        return None
    for other, advice in alternatives(mask, centred):
        if share(filled, ~other) <= FEW and share(~filled, other) < empty / 2:
            return (
                f"the data are zero at {empty:.0%} of the entries that operator.mask calls measured, and not zero at "
                f"{share(filled, ~mask):.0%} of the others: {advice}"
            )
    if not (steady or centred):  # images have dark parts
        return None
    return (
        f"the data are zero at {empty:.0%} of the entries that operator.mask calls measured: check that the mask is "
        "that of these data, and 0 where nothing was measured"
    )


def share(of: Tensor, among: Tensor) -> float:
    """Return the share of the entries `among` that are `of`; 0 where there are none."""
    return float((of & among).sum()) / max(1.0, float((among & torch.ones_like(of)).sum()))


def alternatives(mask: Tensor, centred: bool) -> Iterator[tuple[Tensor, str]]:
    """Yield masks (1 or B, H, W) that may have been meant, and what to do then."""
    yield ~mask, "is it inverted? It must be 1 where measured and 0 where missing: save 1 - mask"
    if mask.shape[-1] == mask.shape[-2]:
        yield mask.mT, "is it transposed, rows for columns? Save mask.T"
        yield ~mask.mT, "is it inverted and transposed? Save 1 - mask.T"
    if centred:
        yield torch.fft.fftshift(mask, dim=(-2, -1)), "is its zero frequency in the corner? Save np.fft.fftshift(mask)"
        yield (
            torch.fft.fftshift(~mask, dim=(-2, -1)),
            ("is it inverted, with the zero frequency in the corner? Save np.fft.fftshift(1 - mask)"),
        )
    if len(mask) > 1:
        yield mask.flip(0), "are the masks in another order than the measurements?"
