"""From the `system` section of a configuration to the problem that it describes."""

from collections.abc import Callable
from typing import Any

from unveil.operators.inpainting import build_inpainting
from unveil.problem import DENOISING, Problem, Several

__all__ = ["BUILDERS", "build_problem"]

Shape = tuple[int, int, int]

BUILDERS: dict[str, Callable[[Any, Shape, int], Problem | Several]] = {
    "identity": lambda system, shape, count: DENOISING,
    "inpainting": build_inpainting,
}
"""kind -> (its section, shape (C, H, W) of one measurement, number of measurements) -> the problem."""


def build_problem(system: Any, shape: Shape, count: int) -> Problem | Several:
    """The problem of `count` measurements y of shape (C, H, W).

    Raises UnveilError, naming the key of the section, when a file is missing or does not fit the measurements.
    """
    return BUILDERS[system.kind](system, shape, count)
