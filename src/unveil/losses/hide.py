"""Measurement splitting: f sees a part of the measured entries and is judged on all of them.

    y = (y_1, y_2),   f_1(y) = f(y_1 with the operator A_1)

An entry that f does not see has noise independent of f's output, so any unbiased loss of f_1 stays one; and to predict
it f must learn what A_1 leaves out. One operator: self-supervised learning via data undersampling (SSDU, Yaman et al.
2020, https://doi.org/10.1002/mrm.28378); further corruption (Ambient Diffusion, Daras et al. 2023,
https://arxiv.org/abs/2305.19256); with a symmetry (`Symmetrize`) equivariant splitting (Sechaud et al. 2026,
https://arxiv.org/abs/2510.00929).
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement

__all__ = ["HiddenEntries", "Hide"]


FEW = 0.01
"""Of the entries: the least share that is hidden where some are missing."""


class Hide(Loss):
    """The loss of f after a random share of the measured entries is hidden from it.

    The plain loss where A leaves nothing out. Of images that are whole but for faulty pixels no more are hidden than
    are missing anyhow, or one in a hundred.

    share: of the entries hidden, in (0, 1), drawn alike for all samples' entries that lie at one place of the axes.
    keep:  share of the samples from which nothing is hidden.
    axes:  of y (B, C, H, W) along which hidden places differ: (-2, -1) single pixels in all channels; (-1,) whole
           columns; None: `Operator.hidden_axes`.
    """

    def __init__(self, loss: Loss, share: float = 0.15, keep: float = 0.5, axes: tuple[int, ...] | None = None) -> None:
        if not 0 < share < 1 or not 0 <= keep < 1:
            raise UnveilError(f"share = {share} must be in (0, 1) and keep = {keep} in [0, 1)")
        self.loss = loss
        self.share = share
        self.keep = keep
        self.axes = axes
        self.passes = loss.passes

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        axes = m.operator.hidden_axes() if self.axes is None else self.axes
        if axes is None:
            return self.loss(f, m, generator)
        if self.axes is not None or m.operator.unseen:
            shown = self.shown(m.y, axes, generator)
        else:
            missing = 1 - float(m.operator.project(torch.ones_like(m.y)).mean())
            shown = self.shown(m.y, axes, generator, min(self.share, max(missing, FEW)))
        return self.loss(lambda seen: f(seen.hide(shown)), m, generator)

    def shown(self, y: Tensor, axes: tuple[int, ...], generator: torch.Generator, share: float | None = None) -> Tensor:
        """Draw which entries f sees: boolean, broadcastable to y. share: None is `self.share`."""
        shape = [len(y), *(1 for _ in y.shape[1:])]
        for axis in axes:
            shape[axis] = y.shape[axis]
        u = torch.rand(shape, generator=generator, device=y.device)
        whole = torch.rand(len(y), *(1 for _ in y.shape[1:]), generator=generator, device=y.device) < self.keep
        return (u >= (self.share if share is None else share)) | whole


class HiddenEntries(Loss):
    """|y_2 - A_2 f(y_1)|^2 / m_2 - var(y_2) (B,).

    An unbiased estimate of |A_2 (f(y_1) - x)|^2 / m_2 on the hidden entries. f saw neither y_2 nor its noise, so no
    divergence is needed, but where entries share their noise: Stein's identity then says what f saw of it, in a second
    pass. Of all losses this alone tells of what A_1 leaves out.

    share: of the places hidden, the same in all channels and samples; if chance hides nothing that is measured, one
    place is hidden. axes: as `Hide`'s. One pass.
    """

    def __init__(self, share: float = 0.1, axes: tuple[int, ...] | None = None) -> None:
        if not 0 < share < 1:
            raise UnveilError(f"share = {share} must be in (0, 1): a part of the entries is hidden, and a part seen")
        self.axes = axes
        self.share = share

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        y = m.y
        axes = (m.operator.hidden_axes() or (-2, -1)) if self.axes is None else self.axes
        shape = [1, *(y.shape[axis] if axis - y.ndim in axes else 1 for axis in range(1, y.ndim))]
        u = torch.rand(shape, generator=generator, device=y.device)
        measured = m.operator.project(torch.ones_like(y)) > 0
        least = torch.where(measured, u, 1.0).flatten(1).amin(1).amax()  # of every sample something is hidden
        shown = (u >= self.share) & (u > least)
        seen, hidden = m.hide(shown), m.hide(~shown)
        predicted = hidden.predict(f(seen))
        loss = hidden.mean_square(hidden.y - predicted) - hidden.operator.mean(m.noise.estimated_variance(hidden.y))
        if m.noise.white:
            return loss

        def h(y: Tensor) -> Tensor:
            return hidden.predict(f(m.at(y).hide(shown)))

        return loss + 2 * m.noise.stein(h, m.y, predicted, hidden.operator.mean, generator)
