"""The ring in an image of the sky: how wide it is, and where it is bright.

Its centre is where the radii of peak brightness, over all directions, agree best; its diameter is twice their mean
(after EHT Collaboration 2019, Paper IV, section 9, https://doi.org/10.3847/2041-8213/ab0e85).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = ["Ring", "measure"]

ANGLES = 72
LARGEST = 0.75
"""Radius to which peaks are looked for, over half of the image."""
RADII = 90


@dataclass(frozen=True)
class Ring:
    """diameter: in the units of `pixel`. spread: of the radius over directions, relative.

    south_over_north: mean brightness between half and one and a half times the radius, of both halves. depression: mean
    brightness at the centre over that of the ring. angle: where the ring is brightest, the first harmonic over
    directions, in degrees east of north, 0 to 360.
    """

    diameter: float
    spread: float
    south_over_north: float
    depression: float
    angle: float


def measure(x: Tensor, pixel: float) -> Ring:
    """The ring in x (H, W), north up, pixels of the side `pixel`."""
    side, step = x.shape[-1], 0.25
    axis = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    x = x.double()
    bright = x.clamp(min=0) * (x > 0.2 * x.max())
    middle = torch.stack([(bright * axis).sum(), (bright * axis[:, None]).sum()]) / bright.sum()
    offsets = torch.arange(-2.0, 2.0 + step, step, dtype=torch.float64)
    centres = middle + torch.cartesian_prod(offsets, offsets)  # (K, 2) across, down
    radii = torch.linspace(0, LARGEST * side / 2, RADII, dtype=torch.float64)
    angle = 2 * math.pi * torch.arange(ANGLES, dtype=torch.float64) / ANGLES
    way = torch.stack([angle.cos(), angle.sin()], -1)  # down is the south
    profiles = torch.stack([_sample(x, c + radii[:, None, None] * way) for c in centres])  # (K, R, ANGLES)
    peaks = radii[profiles.argmax(1)]
    spread = peaks.std(1) / peaks.mean(1).clamp(min=1e-9)
    best = int(spread.argmin())
    radius, profile = peaks[best].mean(), profiles[best]
    inside = ((radii > radius / 2) & (radii < 1.5 * radius))[:, None] * radii[:, None]
    south, north = ((profile * inside)[:, half].sum() for half in (angle.sin() > 1e-9, angle.sin() < -1e-9))
    around = (profile * inside).sum(0)
    east, up = -(around * angle.cos()).sum(), -(around * angle.sin()).sum()
    level = profile[int((radii - radius).abs().argmin())].mean()
    return Ring(
        diameter=float(2 * radius * pixel),
        spread=float(spread[best]),
        south_over_north=float(south / north),
        depression=float(profile[0].mean() / level),
        angle=math.degrees(math.atan2(east, up)) % 360,
    )


def _sample(x: Tensor, place: Tensor) -> Tensor:
    """x (H, W) at places (R, ANGLES, 2), in pixels from the middle, by cubic interpolation."""
    scaled = 2 * place / x.shape[-1]
    return grid_sample(x[None, None], scaled[None], mode="bicubic", align_corners=False)[0, 0]
