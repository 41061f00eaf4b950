"""What each symmetry of a product does for an operator, and which others would do something."""

from collections.abc import Sequence

import torch

from unveil.identifiability.equivariance import commutes, equivariance_gap
from unveil.operators.base import Operator
from unveil.symmetry import SYMMETRIES, Amplitude, Permute, Product, Shift, Symmetry

__all__ = ["factors_of", "may_be_left_out", "name_of", "suggestion"]

SUGGESTED = ("shift", "quarter", "rotate", "flip", "scale")


def factors_of(symmetry: Symmetry | None) -> tuple[Symmetry, ...]:
    if symmetry is None:
        return ()
    return symmetry.factors if isinstance(symmetry, Product) else (symmetry,)


def name_of(factor: Symmetry) -> str:
    return type(factor).__name__.lower()


def may_be_left_out(factor: Symmetry, factors: Sequence[Symmetry]) -> bool:
    """Return whether a factor that A commutes with adds nothing to the others either.

    For A T_h T_g = A T_g' T_h for shifts g. Left in, shifts would bring the corners of the image to where rotations are
    right no more.
    """
    return isinstance(factor, Shift | Amplitude) and not any(isinstance(other, Permute) for other in factors)


def suggestion(
    operator: Operator, factors: Sequence[Symmetry], shape: tuple[int, ...], generator: torch.Generator
) -> str:
    """Suggest symmetries that move what A sees, other than those at hand, and more operators."""
    present = {name_of(factor) for factor in factors}
    present |= {"quarter"} if "rotate" in present else set()
    helpful = []
    for name in SUGGESTED:
        if name in present or (name == "quarter" and shape[-2] != shape[-1]):
            continue
        candidate = SYMMETRIES[name]()
        if not commutes(equivariance_gap(operator, candidate, shape, generator), candidate):
            helpful.append(name)
    more = "more operators" if operator.count else "several operators (other masks, angles, defoci)"
    if not helpful:
        return f"measure with {more}: no other symmetry known here moves what is seen"
    return f"add {' or '.join(helpful)} to the symmetries, if the images have it, or measure with {more}"
