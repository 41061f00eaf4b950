"""What measurements contradict of the description of the instrument that made them, a line for each contradiction.

Instruments that have checks of their own name them in their folder. A line says what was found, and what to do.
"""

import torch

from unveil.checks.masks import mask_line
from unveil.data import ImageSource
from unveil.instruments.instrument import load
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators.base import Operator

__all__ = ["instrument_contradictions"]

MEASUREMENTS = 8
"""How many are looked at, spread over all."""


def instrument_contradictions(
    kind: str, source: ImageSource, operator: Operator, sigma: float | None = None
) -> list[str]:
    """Where measurements, all of one shape, are not what `operator` says; empty where all is well.

    kind: of the system. sigma: the noise level as stated, in the units of the measurements; None: not stated.
    Raises what `source.read` raises.
    """
    which = torch.arange(0, len(source), -(-len(source) // MEASUREMENTS))
    y = torch.stack([source.read(int(i)) for i in which])
    part = operator.select(which)
    known = INSTRUMENTS[kind]
    lines: list[str | None] = [mask_line(y, part.measured, centred=known.centred)]
    if known.doubts is not None:
        lines += load(known.doubts)(y, part, sigma)
    return [line for line in lines if line is not None]
