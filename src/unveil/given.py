"""What is given in Python, as the rooms below take it: a source of measurements, an operator, a configuration."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unveil.config import Config, parse_config
from unveil.data import ImageSource, MemorySource, open_images
from unveil.data.ranges import stored_range
from unveil.errors import UnveilError
from unveil.idle import refuse_idle
from unveil.measurement import Measurement
from unveil.noise import NOISES, Noise
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.operators.physics import Physics
from unveil.runs.noise import recorded
from unveil.training.defaults import settings_of

__all__ = [
    "FILES",
    "Measurements",
    "configuration_of",
    "is_one",
    "noise_given",
    "operator_of",
    "source_of",
    "tensor_of",
]

Measurements = Tensor | np.ndarray | str | os.PathLike[str]
"""(N, *measurement), real, or complex with its channels doubled: real parts, then imaginary ones; or a path to
images."""

FILES = ("dataset", "axes", "value_range")
"""Keys of the section data that say how files are read."""


def source_of(y: Measurements, how: Mapping[str, Any]) -> ImageSource:
    """Return y as a source. how: a path is read, keys of the section data of a configuration."""
    if isinstance(y, str | os.PathLike):
        return open_images(y, **{key: how.get(key) for key in FILES})
    values = tensor_of(y)
    return MemorySource({f"{i:05d}": image for i, image in enumerate(values)})


def tensor_of(y: Tensor | np.ndarray) -> Tensor:
    """Return y (N, C, H, W) in single precision, its channels doubled where it is complex.

    Raises UnveilError for another shape, for whole numbers, and for what is no array.
    """
    try:
        values = torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):  # whatever torch raises of the objects that it does not know
        kind = (
            "a Measurement: pass its y, operator and noise"
            if isinstance(y, Measurement)
            else (f"a {type(y).__name__} that is no array: pass a tensor (N, C, H, W), or a folder of images")
        )
        raise UnveilError(f"y is {kind}") from None
    if values.ndim != 4:
        raise UnveilError(
            f"y has shape {tuple(values.shape)}: pass (N, C, H, W); one image is y[None], grey ones y[:, None]"
        )
    if values.is_complex():
        values = torch.cat([values.real, values.imag], 1)
    if not values.is_floating_point():
        raise UnveilError(f"y holds {values.dtype}: pass floating point, e.g. y.float() / 255 of bytes")
    return values.float()


def noise_given(noise: Any) -> Noise | Literal["estimate"]:
    """Return what `learn` was given. Raises UnveilError where it is neither a family nor to be estimated."""
    if isinstance(noise, Noise):
        return noise
    if noise != "estimate":
        raise UnveilError(
            f"noise is {str(noise)[:40]!r}: pass a family with its parameters, as unveil.noise.Gaussian(0.1), or "
            "'estimate'"
        )
    return "estimate"


def operator_of(given: Any, image_shape: tuple[int, ...] | None) -> Operator:
    """Return A: an operator, or a deepinv physics of images (C, H, W) = `image_shape`; of None the identity.

    Raises UnveilError for a physics without its images' shape.
    """
    if given is None:
        return Identity()
    if isinstance(given, Operator):
        return given
    if image_shape is None:
        raise UnveilError("a deepinv physics does not tell the shape of its images: pass image_shape=(C, H, W)")
    return Physics(given, image_shape)


def configuration_of(
    source: ImageSource, operator: Operator, settings: Mapping[str, Any] | None, noise: Noise | str, steps: int,
    seed: int,
) -> Config:  # fmt: skip
    """Return the configuration, as `unveil init` and `unveil train` would have it.

    Raises UnveilError for a setting that is none, or that does nothing for the instrument that A is of.
    """
    values = settings_of(operator)
    for name, section in (settings or {}).items():
        values[name] = {**values.get(name, {}), **section}
    values.setdefault("data", {}).setdefault("path", "given in Python")
    training = values.setdefault("training", {})
    training.setdefault("steps", steps)
    training.setdefault("warmup", min(100, training["steps"] // 10))
    smallest, _ = source.smallest()
    if smallest < 32 and operator.kind in (None, "identity"):  # others are learned from whole
        training.setdefault("crop", max(4, smallest // 4 * 4))
    if isinstance(noise, Noise):
        named = is_one(noise) and isinstance(noise, tuple(NOISES.values()))
        values["noise"] = recorded(noise) if named else {"kind": "auto"}  # it is not found from there
        if noise.mapped and is_one(noise):  # in the numbers of the files, as configurations have it
            low, high = values["data"]["value_range"] = stored_range(source)
            values["noise"] = _stated(noise.scaled(high - low).shifted(low))
    config = parse_config({"seed": seed, **values}, "settings")
    return config if operator.kind is None else refuse_idle(config, "settings", operator.kind)


def is_one(noise: Noise) -> bool:
    """Return whether all images have the same parameters."""
    values = [value for value in vars(noise).values() if isinstance(value, Tensor)]
    return all(value.ndim not in (1, 4) or len(value) == 1 for value in values)


def _stated(noise: Noise) -> dict[str, Any]:
    """Return the section of a configuration; it names maps as a run folder does."""
    return {name: f"{name}.tif" if isinstance(value, dict) else value for name, value in recorded(noise).items()}
