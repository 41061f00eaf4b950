"""unveil init: look at the data, and write a configuration that suits them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.checks import constant_images, contradictions, copied_channels, look, mixed_types, outliers
from unveil.checks.channels import dependent_channels
from unveil.checks.own_scale import own_scale
from unveil.cli.init_system import KINDS, init_measurements
from unveil.cli.outputs import check_free, keep_inputs, source_files
from unveil.cli.screen import say
from unveil.config import Config, parse_config
from unveil.config_file import override, to_yaml
from unveil.data import ImageSource, atomic_write
from unveil.errors import UnveilError, warn
from unveil.idle import refuse_idle
from unveil.noise import Gaussian, estimate_common_sigma
from unveil.runs.create import noise_level, stated_noise
from unveil.training.recipes import RECIPES
from unveil.training.setup import instrument, open_source

__all__ = ["run_init"]

SMALLEST = 16
"""Pixels across the smallest image that can be trained on."""


def run_init(data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    check_free(out, force)
    values = override({"data": {"path": data}}, sets)
    config = refuse_idle(parse_config(values, "--set"), "--set")
    if not instrument(config).sees_all:  # its measurements need not look like images: they are not rescaled
        init_measurements(config.operator.kind, data, out, sets, force)
        return
    if not Path(config.data.path).exists():
        raise UnveilError(
            f"{config.data.path} does not exist: check the path, or give one of the imaging systems {', '.join(KINDS)}"
        )
    source = open_source(config)
    keep_inputs(source_files(source, config), [out])
    shapes = [source.shape(i) for i in range(len(source))]
    smallest = min(min(shape[1:]) for shape in shapes)
    if smallest < SMALLEST:
        where = source.where([min(shape[1:]) for shape in shapes].index(smallest))
        raise UnveilError(
            f"{where} has {smallest} pixels across, and {SMALLEST} are needed: leave such images out, or, if these are "
            f"channels, "
            "state --set data.axes=..., one letter of N, C, H, W for each axis of the array"
        )
    if config.data.value_range is None and (found := unusual_range(config)) is not None:
        config = parse_config(override(values, [f"data.value_range=[{found[0]}, {found[1]}]"]), data)
        say(f"values lie between {found[0]} and {found[1]}: data.value_range maps these to [0, 1]")
        source = open_source(config)
    if "crop" not in values.get("training", {}) and smallest < config.training.crop:
        config = parse_config(override(values, [f"training.crop={smallest // 4 * 4}"]), data)
    images = look(source)
    check_images(source, images, data)
    stated = stated_noise(config, source)
    for line in contradictions(images, stated):
        warn(line)
    noise = stated
    if noise is None:
        sigma = estimate_common_sigma(images.values(), list(images))
        if not sigma > 0:
            raise UnveilError(f"{data}: no noise found in the images; give noisy ones, as they were measured")
        noise = Gaussian(sigma)
    warning, scales = None, config.loss.scales if RECIPES[config.loss.recipe].scales else (1,)
    if (
        "scales" not in values.get("loss", {})
        and (warning := own_scale(source, noise, scales, config.training.crop)) is not None
    ):
        config = parse_config(override(values, ["loss.scales=[1]"]), data)
    text = to_yaml(config, out.parent)
    if stated is None:
        text = text.replace(
            "  sigma: estimate  #", f"  sigma: estimate  # found {noise_level(noise):.4g} in the images;"
        )
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    largest = max(max(shape[1:]) for shape in shapes)
    level = noise_level(noise)
    say(
        f"{len(source)} images, {source.channels} channel(s), sides from {smallest} to {largest} pixels; "
        + (f"{config.noise.kind} noise, {noise}" if level is None else f"noise level about {level:.4g}")
        + " on the [0, 1] scale",
    )
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path in [Path(data), *Path(data).glob("*")]):
        warn(
            "JPEG compression removes noise unevenly: the model of white noise does not hold, and the level is "
            "underestimated; use raw or lossless images if there are any",
        )
    if warning is not None:
        say(f"{warning}, so loss.scales is [1]; --set loss.scales=[1,2,4] overrides")
    say(f"wrote {out}; next: unveil train {out}")


def check_images(source: ImageSource, images: Mapping[str, Tensor], data: str) -> None:
    """Raises UnveilError for `images` of `source` from which nothing can be learned; warns of those among others."""
    constant = constant_images(images)
    names = ", ".join(constant[:3]) + (f" and {len(constant) - 3} more" if len(constant) > 3 else "")
    if len(constant) == len(images):
        raise UnveilError(
            f"{data}: constant images ({names}): there is nothing to learn from one value; give measured ones"
        )
    if constant:
        warn(f"{data}: some images are constant ({names}): leave them out")
    if (mixed := mixed_types(source)) is not None:
        warn(f"{data}: {mixed}")
    pair = dependent_channels(images.values())
    if pair is not None and pair.copies:
        raise UnveilError(f"{data}: {copied_channels(list(images.values()))}")


def unusual_range(config: Config) -> tuple[float, float] | None:
    """The range of the data's values, in their own units, where [0, 1] or the range of their type would not show them.

    To three digits of the range's width, however far from 0 it lies.
    """
    low, high = quantiles(open_source(config))
    if low > -0.5 and high < 1.5 and high - low > 0.25:
        return None
    if config.noise.stored:  # no photons are 0
        _, high = quantiles(in_units(config, 0.0))
        return (0.0, round(high, 3 - math.floor(math.log10(high)))) if high > 0 else None
    offset, _ = quantiles(in_units(config, 0.0))
    low, high = (offset + v for v in quantiles(in_units(config, offset)))  # less the offset, float32 resolves the width
    if not low < high:
        return None
    digits = 3 - math.floor(math.log10(high - low))
    return round(low, digits), round(high, digits)


def in_units(config: Config, offset: float) -> ImageSource:
    """The images in their own units, less an offset."""
    return open_source(
        config.model_copy(update={"data": config.data.model_copy(update={"value_range": (offset, offset + 1)})})
    )


def quantiles(source: ImageSource) -> tuple[float, float]:
    """The 0.1% and 99.9% quantiles of the images' values, without outliers."""
    values = []
    for image in look(source).values():
        kept = image[~outliers(image)]
        values.append(kept[:: max(1, len(kept) // 100_000)])
    low, high = np.quantile(torch.cat(values).double().numpy(), [0.001, 0.999])
    return float(low), float(high)
