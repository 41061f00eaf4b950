"""A linear map whose gradient is its transpose, and the transpose's the map, whatever computes the two.

Gradients of any order then need no derivative of either: of interpolation on a GPU torch has none of second order, and
recording an interpolation would keep its indices for every value.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["linear"]

Map = Callable[[Tensor], Tensor]


def linear(x: Tensor, apply: Map, transpose: Map) -> Tensor:
    """Return apply(x), whose gradient is transpose of the gradient given, and so on.

    apply, transpose: each other's transpose, exactly; neither is recorded.
    """
    y: Tensor = _Linear.apply(x, apply, transpose)
    return y


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: Map, transpose: Map) -> Tensor:
        ctx.maps = apply, transpose
        return apply(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        apply, transpose = ctx.maps
        return linear(gradient, transpose, apply), None, None
