"""What of a configuration can be read off the measurements: range of values, sizes of crops and batches, scales."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.checks import look, outliers
from unveil.checks.look import filled
from unveil.config import Config, parse_config
from unveil.config_file import override
from unveil.data import ImageSource
from unveil.errors import UnveilError
from unveil.instruments.instrument import USUAL, Scale, load
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators.base import Operator
from unveil.training.defaults import usual_batch
from unveil.training.setup import open_source

__all__ = [
    "KINDS", "check_sizes", "find_scale", "scale_line", "unusual_range", "with_batch", "with_crop",
]  # fmt: skip

KINDS = tuple(kind for kind, found in INSTRUMENTS.items() if found.example is not None)
"""The instruments that init knows by name."""

SMALLEST = 16
"""Pixels across the smallest image that can be trained on."""


def check_sizes(source: ImageSource) -> None:
    """Raise UnveilError for images that are too small to be trained on."""
    smallest, which = source.smallest()
    if smallest < SMALLEST:
        raise UnveilError(
            f"{source.where(which)} has {smallest} pixels across, and {SMALLEST} are needed: leave "
            "such images out, or, if these are channels, state --set data.axes=..., one letter of N, C, H, W for each "
            "axis of the array"
        )


def with_crop(values: dict[str, Any], source: ImageSource, where: str) -> Config:
    """Return the configuration, its crop no larger than the smallest image unless `values` state it."""
    config = parse_config(values, where)
    smallest, _ = source.smallest()
    if "crop" in values.get("training", {}) or smallest >= config.training.crop:
        return config
    return parse_config(override(values, [f"training.crop={smallest // 4 * 4}"]), where)


def with_batch(values: dict[str, Any], operator: Operator, pixels: int, where: str) -> Config:
    """Return the configuration, its batch of about `pixels` pixels unless `values` state it."""
    if "batch" not in values.get("training", {}):
        override(values, [f"training.batch={usual_batch(operator, pixels)}"])
    return parse_config(values, where)


def find_scale(config: Config, source: ImageSource) -> Scale | None:
    """Return what measurements tell of a key of the section that scales the images.

    None of other instruments, or where they do not.
    """
    find = INSTRUMENTS[config.operator.kind].scale
    if find is None or config.data.value_range is not None:
        return None
    scale: Scale | None = load(find)(config.operator, first_measurements(source)[1])
    return scale


def scale_line(config: Config, source: ImageSource, operator: Operator, scale: Scale | None) -> str | None:
    """Return what to do where the images' values are far from those that training supposes.

    None where they are not, or not known.
    """
    if config.data.value_range is not None:
        return None
    if INSTRUMENTS[config.operator.kind].scale is not None:
        return None if scale is None else scale.unusual
    which, y = first_measurements(source)
    found = float(operator.select(which).rough_image(y).std())
    low, high = USUAL
    if found == 0 or low <= found <= high:
        return None
    return (
        f"the images' values seem to deviate by {found:.2g} from their mean, and training supposes about 0.25; --set "
        f"data.value_range=[0,{4 * found:.2g}] divides the measurements by {4 * found:.2g}, and noise.sigma is then "
        "that of the quotients"
    )


def first_measurements(source: ImageSource) -> tuple[Tensor, Tensor]:
    """Return the numbers (B,) and values (B, C, H, W) of some measurements."""
    which = torch.arange(min(4, len(source)))
    return which, torch.stack([filled(source.read(int(i))) for i in which])


def unusual_range(config: Config, from_zero: bool) -> tuple[float, float] | None:
    """Return the range of the data's values, in their own units, where the usual one would not show them.

    The usual one is [0, 1] or the range of their type. To three digits of the range's width, however far from 0 it
    lies.
    """
    low, high = quantiles(open_source(config))
    if low > -0.5 and high < 1.5 and high - low > 0.25:
        return None
    if from_zero:
        _, high = quantiles(in_units(config, 0.0))
        return (0.0, round(high, 3 - math.floor(math.log10(high)))) if high > 0 else None
    offset, _ = quantiles(in_units(config, 0.0))
    unit = max(1.0, 2 * float(np.spacing(abs(offset))))  # numbers of 10^22, column densities, are millions apart
    low, high = (offset + unit * v for v in quantiles(in_units(config, offset, unit)))  # float32 resolves the width
    if not low < high:
        return None
    digits = 3 - math.floor(math.log10(high - low))
    return round(low, digits), round(high, digits)


def in_units(config: Config, offset: float, unit: float = 1.0) -> ImageSource:
    """Return the images less an offset, as multiples of a unit of the numbers in their files."""
    return open_source(
        config.model_copy(update={"data": config.data.model_copy(update={"value_range": (offset, offset + unit)})})
    )


def quantiles(source: ImageSource) -> tuple[float, float]:
    """Return the 0.1% and 99.9% quantiles of the images' values, without outliers."""
    values = []
    for image in look(source).values():
        kept = image[~outliers(image)]
        values.append(kept[:: max(1, len(kept) // 100_000)])
    low, high = np.quantile(torch.cat(values).double().numpy(), [0.001, 0.999])
    return float(low), float(high)
