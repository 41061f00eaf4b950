"""Symmetries of signals: group actions T_g, one a file, and the names by which a configuration calls them."""

from unveil.symmetry.amplitude import Amplitude
from unveil.symmetry.base import Symmetry
from unveil.symmetry.build import SYMMETRIES, make_symmetry
from unveil.symmetry.flip import Flip
from unveil.symmetry.permute import Permute
from unveil.symmetry.product import Product
from unveil.symmetry.quarter import Quarter
from unveil.symmetry.rotate import Rotate
from unveil.symmetry.scale import Scale
from unveil.symmetry.shift import Shift

__all__ = [
    "SYMMETRIES",
    "Amplitude",
    "Flip",
    "Permute",
    "Product",
    "Quarter",
    "Rotate",
    "Scale",
    "Shift",
    "Symmetry",
    "make_symmetry",
]
