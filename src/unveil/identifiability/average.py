"""What the measurements see of images that a symmetry moves.

    M = E_g,a [T_g^T A_a^T A_a T_g]

over the group and, of several operators, over these. v^T M v = E |A T_g v|^2 is zero if and only if no measurement of
any moved copy of v shows anything of v: two signals that differ by such a v cannot be told apart, whatever the number
of data. T_g^T is the exact transpose of the T_g that training applies, interpolation included, so M is that of the
training.

Sampling. All pairs (g, a) are taken where there are at most LARGEST pairs. Of more, a fixed set that covers the group
evenly (`Symmetry.cover`): pi max(H, W) angles resolve rotations of an image to a pixel at its edge.

Judged images. Where T_g interpolates it is right only for frequencies inside a circle, and only these are judged: those
below JUDGED times the highest one (0.5 cycles per pixel). Elsewhere, all.
"""

import math

import torch
from torch import Tensor

from unveil.operators.base import Operator
from unveil.symmetry import Symmetry

__all__ = ["JUDGED", "Average"]

JUDGED = 0.9
BUDGET = 2**21
"""Pixels of moved images in one application of M, about."""
CHUNK = 2**20
"""Pixels held at once."""


class Average:
    """M of images (C, H, W), applied or as a matrix.

    symmetry: T_g. like: an empty tensor (1, C, H, W) of the dtype and device to compute with. generator: draws the set
    of pairs. complete: every g and every operator is in it. judged: how many of the n dimensions are judged.
    """

    def __init__(self, operator: Operator, symmetry: Symmetry, like: Tensor, generator: torch.Generator) -> None:
        self.operator = operator.to(like.device)
        self.symmetry = symmetry
        self.like = like
        self.shape = tuple(like.shape[1:])
        self.n = like[0].numel()
        largest = max(64, min(1024, BUDGET // self.n))
        order = symmetry.order(self.shape)
        operators = operator.count or 1
        turns = math.ceil(math.pi * max(self.shape[-2:]))
        g = symmetry.cover(like, largest if math.isfinite(order) else min(largest, turns), generator)
        count = len(g) * operators
        self.complete = len(g) == order and count <= largest
        if count <= largest:
            self.g = g.repeat_interleave(operators, 0)
            self.which = torch.arange(operators, device=like.device).repeat(len(g))
        else:
            shuffled = [torch.randperm(largest, generator=generator, device=like.device) for _ in range(2)]
            self.g = g[shuffled[0] % len(g)]
            self.which = shuffled[1] * operators // largest if operators > largest else shuffled[1] % operators
        frequencies = torch.fft.fftfreq(self.shape[-2])[:, None].square() + torch.fft.fftfreq(self.shape[-1]).square()
        inside = (
            frequencies.sqrt() < JUDGED / 2 if symmetry.interpolates else torch.ones_like(frequencies, dtype=torch.bool)
        )
        self.inside = inside.to(like.device)  # (H, W), in the order of torch.fft.fft2
        self.judged = int(inside.sum()) * (self.n // inside.numel())

    def project(self, x: Tensor) -> Tensor:
        """Return the judged part of x (..., H, W)."""
        return x if bool(self.inside.all()) else torch.fft.ifft2(torch.fft.fft2(x) * self.inside).real

    def __call__(self, v: Tensor) -> Tensor:
        """Return the judged part of M v (C, H, W), of v (C, H, W)."""
        total = torch.zeros_like(v)
        size = max(1, CHUNK // self.n)
        for g, which in zip(self.g.split(size), self.which.split(size)):
            A = self.operator.select(which)
            seen = A.A_adjoint(A.A(self.symmetry.linear_part(v.expand(len(g), *self.shape), g)))
            total += self.symmetry.adjoint(seen, g).sum(0)
        return self.project(total / len(self.g))

    def matrix(self) -> Tensor:
        """Return M (n, n) on all images, by its columns A T_g e_i."""
        eye = torch.eye(self.n, dtype=self.like.dtype, device=self.like.device).reshape(self.n, *self.shape)
        total = torch.zeros(self.n, self.n, dtype=eye.dtype, device=eye.device)
        for g, which in zip(self.g.split(1), self.which.split(1)):
            seen = self.operator.select(which).A(self.symmetry.linear_part(eye, g.expand(self.n, -1))).flatten(1)
            total.addmm_(seen, seen.mT)
        return total / len(self.g)
