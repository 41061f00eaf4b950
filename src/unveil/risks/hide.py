"""Measurement splitting: f sees a part of the measured entries and is judged on all of them.

    y = (y_1, y_2),   f_1(y) = f(y_1 with the operator A_1)

An entry that f does not see has noise independent of f's output, so any unbiased risk of f_1 stays one; and to predict it f
must learn what A_1 leaves out. One operator: self-supervised learning via data undersampling (SSDU, Yaman et al. 2020,
https://doi.org/10.1002/mrm.28378); further corruption (Ambient Diffusion, Daras et al. 2023, https://arxiv.org/abs/2305.19256);
with a symmetry (`Symmetrize`) equivariant splitting (Sechaud et al. 2026, https://arxiv.org/abs/2510.00929).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.risks.base import Estimator, Risk

__all__ = ["HiddenEntries", "Hide"]


class Hide(Risk):
    """The risk of f after a random share of the measured entries is hidden from it.

    risk: on the problem it was built with. share: of the entries hidden, in (0, 1), drawn alike for all samples' entries that
    lie at one place of `axes`. keep: share of the samples from which nothing is hidden.
    axes: of y (B, C, H, W) along which hidden places differ: (-2, -1) single pixels in all channels; (-1,) whole columns.
    """

    def __init__(self, risk: Risk, share: float = 0.15, keep: float = 0.5, axes: tuple[int, ...] = (-2, -1)) -> None:
        super().__init__(risk.problem)
        if not 0 < share < 1 or not 0 <= keep < 1:
            raise UnveilError(f"share = {share} must be in (0, 1) and keep = {keep} in [0, 1)")
        self.risk = risk
        self.share = share
        self.keep = keep
        self.axes = axes
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        part = self.problem.restrict(self.shown(y, generator))

        def f_1(y: Tensor, sigma: Tensor) -> Tensor:
            return f(part.project(y), sigma, part)  # type: ignore[call-arg]

        return self.risk(f_1, y, sigma, generator)

    def shown(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Boolean, broadcastable to y: which entries f sees."""
        shape = [len(y), *(1 for _ in y.shape[1:])]
        for axis in self.axes:
            shape[axis] = y.shape[axis]
        u = torch.rand(shape, generator=generator, device=y.device)
        whole = torch.rand(len(y), *(1 for _ in y.shape[1:]), generator=generator, device=y.device) < self.keep
        return (u >= self.share) | whole


class HiddenEntries(Risk):
    """|y_2 - A_2 f(y_1)|^2 / m_2 - sigma^2 (B,): an unbiased estimate of |A_2 (f(y_1) - x)|^2 / m_2 on the hidden entries.

    f saw neither y_2 nor its noise, so no divergence is needed; and of all risks this alone tells of what A_1 leaves out.
    share: of the places hidden, the same in all channels and samples; if chance hides nothing that is measured, one place is
    hidden. axes: as `Hide`'s; None: `hidden_axes`. One pass.
    """

    def __init__(self, problem: Problem, share: float = 0.1, axes: tuple[int, ...] | None = None) -> None:
        super().__init__(problem)
        self.axes = hidden_axes(problem) if axes is None else axes
        if not 0 < share < 1:
            raise UnveilError(f"share = {share} must be in (0, 1): a part of the entries is hidden, and a part seen")
        self.share = share

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        shape = [1, *(y.shape[axis] if axis - y.ndim in self.axes else 1 for axis in range(1, y.ndim))]
        u = torch.rand(shape, generator=generator, device=y.device)
        measured = self.problem.project(torch.ones_like(y)) > 0
        least = torch.where(measured, u, 1.0).flatten(1).amin(1).amax()  # of every sample something is hidden
        shown = (u >= self.share) & (u > least)
        seen, hidden = self.problem.restrict(shown), self.problem.restrict(~shown)
        x_hat = f(seen.project(y), sigma, seen)  # type: ignore[call-arg]
        residual = hidden.project(y) - hidden.predict(x_hat)
        return hidden.inner(residual, residual) - sigma**2


def hidden_axes(problem: Problem) -> tuple[int, ...]:
    """Along which axes of y single places are hidden: whole columns where A misses whole columns, else single entries.

    A hidden entry must be as hard to fill in as those that A misses.
    """
    mask = problem.measured
    if mask is None or mask.ndim < 3 or mask.shape[-1] == 1:
        return (-2, -1)
    columns = bool((mask == mask[..., :1, :]).all()) and not bool(mask.all())
    return (-1,) if columns else (-2, -1)
