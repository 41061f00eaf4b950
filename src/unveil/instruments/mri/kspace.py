"""What k-space tells of itself: where its zero frequency lies, and how strong its noise is.

Energy is concentrated around the zero frequency. In the corners, where images have least, noise is what is left: there
its level is that of the median, unless images reach that far. It shows in a level that still falls towards the corner,
or in values that are not Gaussian.
"""

from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.fft import ifft2, ifftshift

if TYPE_CHECKING:
    from unveil.instruments.mri.operator import KSpace

__all__ = ["centre_line", "corner_levels", "image_line", "level_line", "noise_level"]

BOX = 8
"""The box around the zero frequency has sides of 1 / BOX of k-space."""
MORE_ENERGY = 4.0
"""The ratio of the energies in two such boxes from which the zero frequency is in the one."""
LEVELS_APART = 3.0
"""The ratio of the stated level to the one found, or its inverse, from which they contradict."""
MORE_BODY = 4.0
"""The ratio of what is seen in the corners of images, 1 / 16 of their area, to what is in their middle, from which
these are exchanged: of a brain wider than its field of view 6 to 8, of T1 slices 12 and more; else below .2."""
RINGS = ((0.5, 0.7), (0.7, 1.1))
"""Of the corners, both frequencies over the highest that are measured."""
FLAT = 1.15
"""The largest ratio of these levels where Gaussian noise alone is left."""
PEAK = 10.0
"""The least ratio of the highest value to the level in the corners, of images that do not reach there."""
LEAST = 64
"""Entries from which a level is found."""


def centre_line(y: Tensor) -> str | None:
    """Say where the zero frequency of k-space y (B, 2 coils, H, W) seems to be, unless it is at H // 2, W // 2."""
    energy = y.double().square().sum((0, 1))  # (H, W)
    height, width = energy.shape
    box = [max(1, side // BOX) for side in (height, width)]

    def around(shifts: tuple[int, int]) -> float:
        moved = energy.roll(shifts, (0, 1))
        top, left = height // 2 - box[0] // 2, width // 2 - box[1] // 2
        return float(moved[top : top + box[0], left : left + box[1]].sum())

    found = {shifts: around(shifts) for shifts in product((0, height // 2), (0, width // 2))}
    best = max(found, key=found.__getitem__)
    if best == (0, 0) or found[best] <= MORE_ENERGY * found[0, 0]:
        return None
    axes = [axis for axis, shift in zip((-2, -1), best) if shift]
    place = "corner" if len(axes) == 2 else "middle of a side"
    return (
        f"k-space seems to have its zero frequency in the {place}, and it must be in the centre: save "
        f"np.fft.fftshift(kspace, axes={tuple(axes) if len(axes) == 2 else axes[0]}), and the mask so too if it is "
        "that of the file"
    )


def image_line(y: Tensor) -> str | None:
    """Say where images of k-space y (B, 2 coils, H, W) seem to have their halves exchanged, the body in the corners."""
    real, imaginary = y.chunk(2, 1)
    seen = ifft2(ifftshift(torch.complex(real, imaginary), dim=(-2, -1)))  # the middle of the image at 0, 0
    body = seen.abs().square().sum(1).sqrt().mean(0)
    height, width = body.shape

    def around(down: int, across: int) -> float:
        moved = body.roll((height // 8 + down, width // 8 + across), (0, 1))
        return float(moved[: height // 4, : width // 4].sum())

    if around(height // 2, width // 2) <= MORE_BODY * around(0, 0):
        return None
    return (
        "images seem to have their middle in the corners, halves exchanged, and would be turned about a wrong centre: "
        "save kspace * (-1.0) ** np.add.outer(np.arange(H), np.arange(W)), and coils so shifted if they are of these"
    )


def level_line(y: Tensor, measured: Tensor | None, sigma: float | None) -> str | None:
    """Return a line where the noise in the corners of k-space y (B, 2 coils, H, W) is not of the stated level.

    Images that reach the corners make the level found there too high, never too low.
    """
    if sigma is None or (found := corner_levels(y, measured)) is None:
        return None
    outer = found[1]
    if outer > sigma / LEVELS_APART and (outer < sigma * LEVELS_APART or not _noise_alone(y, found)):
        return None
    return (
        f"the noise in the corners of k-space has level {outer:.2g}, and {sigma:.2g} is stated: check it, unless "
        "images are as sharp as their pixels; it is that of the real and of the imaginary part, in the units of the "
        "data"
    )


def noise_level(y: Tensor, operator: "KSpace") -> float | None:
    """Return the level of real and imaginary part in k-space y (B, 2 coils, H, W), where its corners are noise alone.

    None where they are not, or hold too little.
    """
    found = corner_levels(y, operator.measured)
    return found[1] if found is not None and found[1] > 0 and _noise_alone(y, found) else None


def _noise_alone(y: Tensor, levels: tuple[float, float, float]) -> bool:
    """Return whether images do not reach the corners of k-space y, whose `corner_levels` are `levels`."""
    inner, outer, spread = levels
    peak = float(y.square().mean((0, 1)).max()) ** 0.5
    return 1 / FLAT < inner / outer < FLAT and 1 / FLAT < spread / outer < FLAT and peak >= PEAK * outer


def corner_levels(y: Tensor, measured: Tensor | None) -> tuple[float, float, float] | None:
    """Return the levels of real and imaginary part in two rings of k-space's corners, else None.

    By their medians, and in the outer one by its variance; None where too little is measured. Entries that are 0 were
    not measured.
    """
    taken = y != 0 if measured is None else (y != 0) & measured
    place = taken.any(0).any(0)  # (H, W)
    down, across = (distance(place.any(axis)) for axis in (1, 0))
    near = torch.minimum(down[:, None], across)  # large in the corners alone
    rings = [y[taken & (near >= low) & (near < high)].abs() for low, high in RINGS]
    if min(len(ring) for ring in rings) < LEAST:
        return None
    inner, outer = (float(ring.median()) / 0.6745 for ring in rings)
    return inner, outer, float(rings[1].square().mean()) ** 0.5


def distance(measured: Tensor) -> Tensor:
    """Return the distance of each row or column from the middle, over that of the farthest one that is `measured`."""
    side = len(measured)
    found = (torch.arange(side) - side // 2).abs().double()
    return found / (found * measured).max().clamp_min(1)


def doubts(y: Tensor, operator: "KSpace", sigma: float | None) -> list[str | None]:
    """Return what k-space y (B, 2 coils, H, W) contradicts of its description, a line each."""
    from unveil.instruments.mri.calibration import coil_line

    if bool((y >= 0).all()):
        return ["k-space has no negative values, as magnitudes have none: give the complex data, with their phases"]
    where = centre_line(y) or image_line(y)
    return [where, level_line(y, operator.measured, sigma), coil_line(y, operator)]
