"""Conjugate gradients, sample by sample, on the device and differentiable (Hestenes and Stiefel 1952,
https://doi.org/10.6028/jres.049.044).

deepinv's add an absolute 1e-8 to |p|_H^2, which is no rounding error at the scale of k-space or of micrographs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.shapes import expand

__all__ = ["conjugate_gradients"]


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-6
) -> Tensor:
    """x with H x ~ b (B, ...), H = apply symmetric and positive definite; ends where |H x - b| <= tolerance |b|."""
    x, r = torch.zeros_like(b), b
    p, rr = r, _dot(r, r)
    tiny = torch.finfo(b.dtype).tiny
    floor = tolerance**2 * rr.detach()
    for _ in range(iterations):
        if bool((rr <= floor).all()):
            break
        h = apply(p)
        step = torch.where(rr > floor, rr / _dot(p, h).clamp_min(tiny), 0)
        x, r = x + expand(step, x) * p, r - expand(step, x) * h
        new = _dot(r, r)
        p = r + expand(new / rr.clamp_min(tiny), x) * p
        rr = new
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
