"""What a run was trained on, in short.

It tells whether other measurements are of the same kind and on the same scale.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unveil.data import ImageSource

__all__ = ["Seen", "out_of_range", "see"]

BEYOND = 0.5
"""How far values may lie outside of the range that training saw, in parts of its width."""
NARROW = 1 / 6
"""How much of that width they fill at least."""


class Seen(NamedTuple):
    """The types of the stored numbers, and the 0.1% and 99.9% quantiles of the values as they are read."""

    types: list[str]
    low: float
    high: float


def see(source: ImageSource, images: Mapping[str, Tensor]) -> Seen:
    """Summarise what `images`, a look at `source`, hold."""
    values = torch.cat([image.flatten()[:: max(1, image.numel() // 100_000)] for image in images.values()])
    low, high = np.quantile(values.double().numpy(), [0.001, 0.999])
    return Seen(sorted({source.dtype(i) for i in range(len(source))}), float(low), float(high))


def out_of_range(there: Seen, here: Seen) -> str | None:
    """Return a line where the values `here` do not lie where those of training, `there`, did; None where they do."""
    width = there.high - there.low
    beyond = max(here.high - there.high, there.low - here.low)
    if beyond <= BEYOND * width and here.high - here.low >= NARROW * width:
        return None
    types = (
        "" if here.types == there.types else f" of type {', '.join(there.types)}, and these are {', '.join(here.types)}"
    )
    return (
        f"values lie between {here.low:.3g} and {here.high:.3g} on the run's [0, 1] scale, and those of its training "
        f"between {there.low:.3g} and {there.high:.3g}{types}: results will be wrong; convert the input to the units "
        "of the training data (data.value_range in the run's config.yaml)"
    )
