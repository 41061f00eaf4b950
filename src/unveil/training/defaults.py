"""What a configuration begins with where nothing is stated: the instrument's settings, batches of like size."""

from typing import Any

from unveil.instruments.registry import INSTRUMENTS
from unveil.operators.base import Operator

__all__ = ["PIXELS_A_STEP", "settings", "settings_of", "usual_batch"]

PIXELS_A_STEP = 32**3
"""training.batch times the pixels of an image that is learned from whole."""


def settings(kind: str) -> dict[str, Any]:
    """Return a copy of the instrument's settings, for `override` to change."""
    return {section: dict(keys) for section, keys in INSTRUMENTS[kind].settings.items()}


def settings_of(operator: Operator) -> dict[str, Any]:
    """Return what `unveil init` would write for measurements by this operator; {} where it is of no instrument."""
    if operator.kind is None:
        return {}
    known, values = INSTRUMENTS[operator.kind], settings(operator.kind)
    if not known.sees_all:
        values["estimator"] = {"mean": known.mean, "prior": known.prior, **values.get("estimator", {})}
        values["training"] = {"batch": usual_batch(operator, PIXELS_A_STEP)} | values.get("training", {})
    return values


def usual_batch(operator: Operator, pixels: int) -> int:
    """Return how many whole images have about `pixels` pixels, at least one."""
    *_, height, width = operator.image_shape or (1, 1)
    return max(1, int(pixels // (height * width)))
