"""What measurements can teach: looked into before an hour is spent, and again beside what was learned."""

import torch

from unveil.config import Config
from unveil.dataset import Dataset
from unveil.errors import warn
from unveil.identifiability import Blind, never_seen, seconds_needed
from unveil.operators.base import Operator
from unveil.random import make_generator
from unveil.symmetry import Symmetry, make_symmetry

__all__ = ["LONGEST", "blind_to", "warn_of_never_seen"]

LONGEST = 120.0
"""Seconds that training waits for it at most, about."""


def warn_of_never_seen(config: Config, operator: Operator, image_shape: tuple[int, ...]) -> str | None:
    """Return what no measurement sees of images (C, H, W), in words, after a warning; None where there is nothing.

    None, too, after another warning, where to look for it would take longer than LONGEST.
    """
    symmetry, generator = _symmetry(config), make_generator("cpu", config.seed)
    if operator.unseen and (seconds := seconds_needed(operator, symmetry, image_shape, generator)) > LONGEST:
        warn(
            f"{config.data.path}: what no measurement sees, whichever way images are moved, was not looked for, which "
            f"takes {seconds / 60:.0f} minutes or more: unveil check does"
        )
        return None
    words = never_seen(operator, symmetry, image_shape, make_generator("cpu", config.seed))
    if words is not None:
        warn(
            f"{config.data.path}: no measurement sees {words}, whichever way images are moved: there the network can "
            "only guess; unveil check says what would show it"
        )
    return words


def blind_to(never_seen: str | None, data: Dataset, config: Config, device: torch.device) -> Blind | None:
    """Return the map from images to the part of them that no measurement sees; None where there was nothing.

    never_seen: of the measurements that were learned from, in words; None: nothing. data: what is judged.
    """
    operator = data.operator
    if never_seen is None or not operator.unseen:
        return None
    shape = operator.image_shape or data.source.shape(0)
    return Blind(operator, _symmetry(config), shape, make_generator(device, config.seed))


def _symmetry(config: Config) -> Symmetry | None:
    return make_symmetry(config.loss.symmetry) if config.loss.symmetry else None
