"""Several symmetries at once: T_g = ... T_g2 T_g1, the elements side by side."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.symmetry.base import Symmetry, element_dtype

__all__ = ["Product"]


class Product(Symmetry):
    """Each of `factors` in turn, the first one first. g is the row of their elements; of no factors, the identity.

    The order is the product of theirs: at most, for flips and quarter turns have the half turn in common.
    """

    def __init__(self, factors: Sequence[Symmetry] = ()) -> None:
        self.factors = tuple(factors)
        numbers = [factor.numbers for factor in self.factors]
        self.numbers = None if None in numbers else sum(k or 0 for k in numbers)
        self.linear = all(factor.linear for factor in self.factors)
        self.orthogonal = all(factor.orthogonal for factor in self.factors)
        self.interpolates = any(factor.interpolates for factor in self.factors)

    def order(self, image_shape: tuple[int, ...]) -> float:
        return math.prod(factor.order(image_shape) for factor in self.factors)

    def elements(self, image_shape: tuple[int, ...]) -> Tensor | None:
        rows = torch.empty(1, 0, dtype=torch.float64)
        for factor in self.factors:
            more = factor.elements(image_shape)
            if more is None:
                return None
            rows = torch.cat([rows.repeat_interleave(len(more), 0), more.repeat(len(rows), 1)], 1)
        return rows

    def draw(self, x: Tensor, generator: torch.Generator) -> Tensor:
        nothing = torch.empty(len(x), 0, dtype=element_dtype(x), device=x.device)
        return torch.cat([nothing, *(factor.draw(x, generator) for factor in self.factors)], 1)

    def cover(self, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return all elements where they are `count` or less, else `count` that cover each factor's group.

        In these each factor covers its own group evenly.
        """
        if self.order(tuple(x.shape[1:])) <= count:
            return super().cover(x, count, generator)
        columns = []
        for factor in self.factors:
            rows = factor.cover(x, count, generator)
            order = torch.randperm(count, generator=generator, device=x.device)
            columns.append(rows[order % len(rows)])
        return torch.cat(columns, 1)

    def apply(self, x: Tensor, g: Tensor) -> Tensor:
        for factor, part in zip(self.factors, self._parts(g)):
            x = factor.apply(x, part)
        return x

    def noise_factor(self, g: Tensor) -> Tensor:
        factor = super().noise_factor(g)
        for each, part in zip(self.factors, self._parts(g)):
            factor = factor * each.noise_factor(part)
        return factor

    def _parts(self, g: Tensor) -> Sequence[Tensor]:
        """Return the element of each factor, of g (B, k)."""
        numbers = [factor.numbers for factor in self.factors]
        known = sum(k for k in numbers if k is not None)
        each = (g.shape[1] - known) // max(1, numbers.count(None))
        return g.split([each if k is None else k for k in numbers], 1)
