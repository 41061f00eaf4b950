"""Conjugate gradients, sample by sample, on the device.

By Hestenes and Stiefel (1952, https://doi.org/10.6028/jres.049.044). deepinv's add an absolute 1e-8 to
|p|_H^2, which is no rounding error at the scale of k-space or of micrographs.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from unveil.errors import warn
from unveil.shapes import expand

__all__ = ["conjugate_gradients", "solve"]

TOLERANCE = 1e-4
"""Of the residual, relative. Of a proximal step from the mean of the images at the level sigma = r v it leaves an error
of .003 of a
posterior deviation at r = .1, .03 at r = .03 and .06 to .26 at r = .01 (coils, rays, a blur with missing pixels, 64 x
64, by 18 to 80 steps); 1e-3 leaves ten times as much."""
MOST = 100
FAR = 10.0
"""Times the tolerance: a residual after MOST steps that is told."""


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int = MOST, tolerance: float = 1e-6
) -> Tensor:
    """Return x with H x ~ b (B, ...), H = apply symmetric and positive definite.

    Ends where |H x - b| <= tolerance |b|.
    """
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
    else:
        worst = float((rr.detach() / _dot(b, b).detach().clamp_min(tiny)).amax().sqrt())
        if iterations >= MOST and worst > FAR * tolerance:  # who asks for fewer steps wants an early end
            _warn_once(f"{10 ** math.floor(math.log10(min(worst, 1e30))):.0e}", f"{tolerance:.0e}")
    return x


@cache
def _warn_once(residual: str, tolerance: str) -> None:
    """Say it once for each power of ten of the residual: thousands of steps may be alike."""
    warn(
        f"conjugate gradients ended after {MOST} steps at a residual of {residual} or more, not {tolerance}: the noise "
        "level is very low for this operator, and steps towards the data are inexact; check the level's units"
    )


def solve(gram: Callable[[Tensor], Tensor], b: Tensor, lambda_: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """Return (G + lambda I)^-1 b (B, ...), differentiable in b and in lambda (B,) > 0.

    gram: G v of v like b, symmetric, positive and linear, without parameters to be learned. The gradient is implicit:
    with x = (G + lambda I)^-1 b and an incoming gradient u, that of b is v = (G + lambda I)^-1 u and that of lambda
    -<v, x>. It costs one more solution, and nothing of the first one's steps is kept.
    """
    x: Tensor = _Solution.apply(b, lambda_, gram, tolerance)
    return x


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, b: Tensor, lambda_: Tensor, gram: Callable[[Tensor], Tensor], tolerance: float) -> Tensor:
        x = conjugate_gradients(lambda v: gram(v) + expand(lambda_, v) * v, b, tolerance=tolerance)
        ctx.save_for_backward(x, lambda_)
        ctx.gram, ctx.tolerance = gram, tolerance
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, lambda_ = ctx.saved_tensors
        v = solve(ctx.gram, gradient, lambda_, ctx.tolerance)
        return v, -_dot(v, x), None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
