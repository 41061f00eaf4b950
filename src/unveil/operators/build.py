"""From the `system` section of a configuration to the operator that it describes."""

from collections.abc import Callable
from typing import Any

from unveil.operators.base import Operator
from unveil.operators.blur import build_blur
from unveil.operators.cryoem import build_cryoem
from unveil.operators.demosaicing import build_demosaicing
from unveil.operators.identity import Identity
from unveil.operators.inpainting import build_inpainting
from unveil.operators.interferometry import build_interferometry
from unveil.operators.mri import build_mri
from unveil.operators.super_resolution import build_super_resolution
from unveil.operators.tomography import build_tomography

__all__ = ["BUILDERS", "build_operator"]

Shape = tuple[int, int, int]

BUILDERS: dict[str, Callable[[Any, Shape, int], Operator]] = {
    "identity": lambda system, shape, count: Identity(),
    "inpainting": build_inpainting,
    "cryoem": build_cryoem,
    "interferometry": build_interferometry,
    "demosaicing": build_demosaicing,
    "blur": build_blur,
    "super_resolution": build_super_resolution,
    "tomography": build_tomography,
    "mri": build_mri,
}
"""kind -> (its section, shape (C, H, W) of one measurement, number of measurements) -> the operator."""


def build_operator(system: Any, shape: Shape, count: int) -> Operator:
    """Return the operator of `count` measurements y of shape (C, H, W).

    Raises UnveilError, naming the key of the section, when a file is missing or does not fit the measurements.
    """
    return BUILDERS[system.kind](system, shape, count)
