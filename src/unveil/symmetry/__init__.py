"""Symmetries of signals: group actions T_g, one a file."""

from unveil.symmetry.base import Symmetry
from unveil.symmetry.flip import Flip

__all__ = ["Flip", "Symmetry"]
