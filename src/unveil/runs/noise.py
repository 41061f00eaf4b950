"""The noise of a run: as its configuration states it, as the instrument tells it, or as found in the data."""

import math
from dataclasses import asdict, fields
from typing import Any, Literal

import torch

from unveil.checks import look
from unveil.checks.look import few, filled, middle
from unveil.config import Config
from unveil.data import ImageSource
from unveil.data.ranges import stored_range, stored_ranges
from unveil.errors import UnveilError
from unveil.instruments.instrument import load
from unveil.noise import NOISES, Found, Gaussian, Noise, OwnNoise, choose_noise, estimate_common_sigma
from unveil.noise.estimate.spectrum import NoiseFound, find_spectrum
from unveil.noises import CorrelatedNoise
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.runs.correlated import stated_correlation
from unveil.runs.maps import digest
from unveil.training.detector import detector_noise
from unveil.training.setup import instrument

__all__ = ["estimated", "find_noise", "found_in", "found_noise", "noise_of", "recorded", "stated_noise"]

IMAGES_FOR_SIGMA = 64


def find_noise(config: Config, source: ImageSource, operator: Operator) -> Noise | OwnNoise:
    """Return the noise on the [0, 1] scale, or what all images have in common where each has parameters of its own.

    Of maps it has the pattern that is taken off the images: `noise_of` is that of what is left.

    It is as the configuration states it, else as the instrument's description tells it, else as found in the data.

    Raises UnveilError where it cannot be found.
    """
    stated = config.noise
    if isinstance(stated, CorrelatedNoise):
        low, high = stored_range(source)
        return stated_correlation(stated, high - low, lambda: _spectrum(config, source))
    if stated.maps:
        return detector_noise(stated, source)
    if not estimated(config):
        noise = NOISES[stated.kind](**stated.model_dump(exclude={"kind"}))
        if not stated.stored:
            return noise
        low, high = stored_range(source)
        return noise.shifted(-low).scaled(1 / (high - low))
    if operator.sigma is not None:
        low, high = config.data.value_range or (0.0, 1.0)
        return Gaussian(operator.sigma / (high - low))
    known = instrument(config)
    told = None if known.level is None else load(known.level)(*few(source, operator)[1:])
    if told is not None:
        return Gaussian(told)
    if not known.level_shows:
        kind, these = config.operator.kind, "" if known.level is None else "these "
        raise UnveilError(
            f"noise.sigma: the level cannot be estimated from {these}measurements by {kind}; add --set "
            "noise.sigma=..., on the scale of the measurements"
        )
    if config.noise.kind == "auto" and known.sees_all:
        return found_noise(config, source).noise
    return Gaussian(_level(config, source))


def found_noise(config: Config, source: ImageSource) -> Found:
    """Return the family that images are found to have, and its parameters, on the [0, 1] scale.

    Raises UnveilError where no noise can be found.
    """
    zeros = {-low / (high - low) for low, high in stored_ranges(source)}
    zero = zeros.pop() if len(zeros) == 1 else math.nan  # of several there is none
    return choose_noise([*look(source).values()], zero, lambda: _level(config, source))


def estimated(config: Config) -> bool:
    """Return whether the noise is to be found in the data."""
    return config.noise.kind == "auto" or "estimate" in config.noise.model_dump().values()


def found_in(config: Config, noise: Noise | OwnNoise) -> Literal["all", "each"] | None:
    """Return whether the noise of images was found in all of them together or in each; None where it is known."""
    if not (estimated(config) and instrument(config).sees_all):
        return None
    return "all" if isinstance(noise, Noise) else "each"


def noise_of(noise: Noise | OwnNoise, source: ImageSource) -> Noise:
    """Return the noise of the images of `source`, found in each where its parameters are its own.

    Raises UnveilError where they cannot be found in one of them.
    """
    several = range(len(source))
    windows = (filled(source.read(i, middle(source.shape(i)))) for i in several)
    return noise.find(windows, [source.where(i) for i in several])


def stated_noise(config: Config, source: ImageSource) -> Noise | None:
    """Return the noise as the configuration states it, or has it found in images; None for a level to be estimated."""
    unknown = estimated(config) and not (config.noise.kind == "auto" and instrument(config).sees_all)
    return None if unknown else noise_of(find_noise(config, source, Identity()), source)


def _level(config: Config, source: ImageSource) -> float:
    """Return the level of white Gaussian noise in the images."""
    chosen = range(0, len(source), max(1, len(source) // IMAGES_FOR_SIGMA))
    found = estimate_common_sigma((filled(source.read(i)) for i in chosen), [source.where(i) for i in chosen])
    if not found > 0:
        raise UnveilError(
            f"{config.data.path}: no noise found in the images, as where a camera or compression has removed it, and "
            "no family fits what is left; use raw images, or state noise.sigma, the level you know"
        )
    return found


def _spectrum(config: Config, source: ImageSource) -> NoiseFound:
    """Return the noise of images by its spectrum."""
    if not instrument(config).sees_all:
        raise UnveilError(
            f"noise.kernel: it is found in images alone, not in measurements by {config.operator.kind}; give it in a "
            "file, or noise.covariance"
        )
    found = find_spectrum([*look(source).values()])
    if found is None:
        raise UnveilError(f"{config.data.path}: the images are too small to find noise.kernel in; give it in a file")
    return found


def recorded(noise: Noise | OwnNoise) -> dict[str, Any]:
    """Return the noise's kind and parameters, for JSON; of parameters that are each image's own, a list of them.

    Of a map its shape and SHA-256, for the run folder has the map itself (`unveil.runs.maps`).

    Of parameters still to be found in each image, what is common to them. Raises UnveilError for a family of one's own.
    """
    if isinstance(noise, OwnNoise):
        return {"per_image": True, **asdict(noise)}
    kind = next((name for name, family in NOISES.items() if isinstance(noise, family)), None)
    if kind is None:
        raise UnveilError(
            f"{type(noise).__name__} is no family that a run folder knows ({', '.join(NOISES)}): keep the model in "
            "memory, or add a section for it to unveil.noises"
        )
    values = {field.name: _plain(getattr(noise, field.name)) for field in fields(noise)}
    return {"kind": kind, **{name: value for name, value in values.items() if value is not None}}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim == 4:
        return {"shape": list(value.shape), "sha256": digest(value)}
    return torch.as_tensor(value).tolist() if value is not None else None
