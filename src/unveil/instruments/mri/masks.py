"""Which columns of k-space a Cartesian scan measures: the share 1 / R of them, and always the centre.

    |columns| = W / R,   of which the central fraction of W, and the rest drawn from the others

k-space is centred: column W // 2 holds the zero frequency, as in fastMRI (Zbontar et al. 2018,
https://arxiv.org/abs/1811.08839), whose masks are of the kinds random and equispaced.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError, warn
from unveil.instruments.files import read_array

__all__ = ["cartesian_mask", "check_mask", "read_mask"]


def cartesian_mask(
    height: int,
    width: int,
    acceleration: float,
    center_fraction: float,
    generator: torch.Generator,
    kind: Literal["random", "equispaced", "gaussian"] = "random",
) -> Tensor:
    """Draw a boolean mask (H, W) of whole columns, True where k-space is measured, on the generator's device.

    acceleration: R >= 1; W / R columns are measured, to within rounding (equispaced: in the mean over draws).
    center_fraction: share of the W columns measured around the zero frequency, in (0, 1 / R]; at least one column.
    kind: of the other columns: random (each as likely), equispaced (a comb through all of k-space, of random phase), or
        gaussian (as random, their density falling off from the centre with the deviation W / 4).
    Raises UnveilError for a rate or a share out of its range, a centre of more than W / R columns, and another kind.
    """
    if not 1 <= acceleration < math.inf:
        raise UnveilError(f"the acceleration is {acceleration}: it must be at least 1 and finite")
    if not 0 < center_fraction <= 1:
        raise UnveilError(f"center_fraction is {center_fraction}: the share of columns in the centre must be in (0, 1]")
    columns, center = round(width / acceleration), max(1, round(center_fraction * width))
    if center > columns:
        raise UnveilError(
            f"the centre has {center} columns, and acceleration {acceleration:g} measures {columns} of {width} in all: "
            "lower center_fraction or the acceleration"
        )
    measured = torch.zeros(width, dtype=torch.bool, device=generator.device)
    start = width // 2 - center // 2
    measured[start : start + center] = True
    outside = (~measured).nonzero()[:, 0]
    if columns > center:
        measured[_others(outside, columns - center, width, generator, kind)] = True
    return measured.repeat(height, 1)


def _others(outside: Tensor, count: int, width: int, generator: torch.Generator, kind: str) -> Tensor:
    """Draw `count` of the columns `outside` the centre.

    With equispaced, in the mean, and what falls into the centre besides.
    """
    device = generator.device
    if kind == "random":
        return outside[torch.randperm(len(outside), generator=generator, device=device)[:count]]
    if kind == "gaussian":
        density = torch.exp(-0.5 * ((outside - width // 2) / (width / 4)) ** 2)
        return outside[torch.multinomial(density, count, generator=generator)]
    if kind == "equispaced":
        # The phase is uniform on a period, so the comb meets any given column with probability 1 / spacing.
        spacing = len(outside) / count
        phase = torch.rand(1, generator=generator, device=device, dtype=torch.float32)
        comb = ((torch.arange(math.ceil(width / spacing), device=device) + phase) * spacing).long()
        return comb[comb < width]
    raise UnveilError(f"there is no kind of mask {kind!r}: use random, equispaced or gaussian")


def check_mask(mask: Tensor) -> None:
    """Raise UnveilError unless `mask` is (H, W) or (N, H, W), of 0 and 1, and measures something each time."""
    if mask.ndim not in (2, 3):
        raise UnveilError(
            f"the mask has shape {tuple(mask.shape)}: it must be (H, W), columns (W,), or (N, H, W) for one per "
            "measurement"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise UnveilError("the mask holds values other than 0 and 1: pass 1 where k-space is measured and 0 elsewhere")
    if not bool((mask != 0).flatten(-2).any(-1).all()):
        raise UnveilError("the mask measures nothing: pass 1 where k-space is measured")


def read_mask(path: str, height: int, width: int, count: int) -> Tensor:
    """Return the boolean mask in a file, for `count` measurements: (H, W), (W,), (count, H, W) or (1, H, W).

    Raises UnveilError for another shape, and for values other than 0 and 1 (in an image: black and white).
    """
    found = read_array(path, "operator.mask")
    if found.ndim == 4 and found.shape[1] == 1:  # as operators hold it
        found = found[:, 0]
    if found.shape not in {(width,), (height, width), (1, height, width), (count, height, width)}:
        raise UnveilError(
            f"operator.mask: {path} has shape {found.shape}, and the {count} measurements are {height}x{width}; give a "
            f"mask ({height}, {width}), columns ({width},), or one mask for each measurement; k-space is (N, coils, H, "
            "W), of all rows and columns, 0 where nothing was measured"
        )
    if found.dtype.kind == "u" and found.max() == np.iinfo(found.dtype).max:
        found = found / found.max()  # white in an image
    if found.dtype.kind == "c" or not np.isin(found, (0, 1)).all():
        raise UnveilError(
            f"operator.mask: {path} holds values other than 0 and 1 (or, in an image, black and white); write 1 where "
            "k-space is measured and 0 elsewhere"
        )
    if found.all():
        warn(f"operator.mask: {path} measures all of k-space; check that it is 0 where nothing was measured")
    return torch.from_numpy(found != 0)
