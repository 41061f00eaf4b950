"""Every field's figure: one line adds it to `evaluate`, evaluation.json, the report and its pictures."""

from typing import Any

from unveil.evaluation.fields.figure import Figure
from unveil.evaluation.fields.gfactor import GFactor
from unveil.evaluation.fields.guessed import Guessed
from unveil.evaluation.fields.photometry import Photometry
from unveil.evaluation.fields.repeats import Repeats
from unveil.evaluation.fields.shells import Shells

__all__ = ["FIGURES"]

FIGURES: tuple[Figure[Any], ...] = (Repeats(), GFactor(), Photometry(), Shells(), Guessed())
