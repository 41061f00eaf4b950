"""From names in a configuration to the symmetry that they mean."""

from collections.abc import Callable, Sequence

from unveil.errors import UnveilError
from unveil.symmetry.amplitude import Amplitude
from unveil.symmetry.base import Symmetry
from unveil.symmetry.flip import Flip
from unveil.symmetry.permute import Permute
from unveil.symmetry.product import Product
from unveil.symmetry.quarter import Quarter
from unveil.symmetry.rotate import Rotate
from unveil.symmetry.scale import Scale
from unveil.symmetry.shift import Shift

__all__ = ["SYMMETRIES", "make_symmetry"]

SYMMETRIES: dict[str, Callable[[], Symmetry]] = {
    "shift": Shift,
    "flip": Flip,
    "quarter": Quarter,
    "rotate": Rotate,
    "permute": Permute,
    "amplitude": Amplitude,
    "scale": Scale,
}
"""Name -> the symmetry, with its defaults."""


def make_symmetry(names: Sequence[str]) -> Symmetry:
    """Return the symmetry of that name, or the product of several in their order; of none, the identity.

    Raises UnveilError for a name that is not known, and for one that occurs twice.
    """
    for name in names:
        if name not in SYMMETRIES:
            raise UnveilError(f"there is no symmetry {name!r}; use {', '.join(SYMMETRIES)}")
    if len(set(names)) < len(names):
        raise UnveilError(f"the symmetries {', '.join(names)} name one twice; name each once")
    factors = [SYMMETRIES[name]() for name in names]
    return factors[0] if len(factors) == 1 else Product(factors)
