"""The step whose whole multiples all values are: photons counted one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["photon_step"]

BETWEEN, SHARE = 0.05, 0.01
"""The distance from a whole number of steps above which a value is between two, and the share that may be."""
VALUES = 10_000
"""About how many values of each image are looked at for the step."""


def photon_step(images: Sequence[Tensor]) -> float | None:
    """Return the step whose whole multiples all values of images are, from 0 up; None where there is none."""
    values = torch.cat([image.flatten()[:: max(1, image.numel() // VALUES)] for image in images]).double()
    apart = values.unique().diff()
    apart = apart[apart > 1e-6 * float(values.abs().max())]  # two that single precision tells apart
    if not len(apart):
        return None
    step = float(apart.min() * (apart / apart.min()).mean() / (apart / apart.min()).round().mean())
    steps = values / step
    whole = (steps - steps.round()).abs() < BETWEEN
    return step if float((~whole | (steps < -BETWEEN)).double().mean()) < SHARE else None
