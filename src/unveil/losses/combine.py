"""Small combinators: more noise, weights, sums, and a batch shared between losses.

Each takes losses and gives a loss.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.losses.base import Law, Loss
from unveil.measurement import Estimator, Measurement

__all__ = ["Mix", "Noisier", "Sum", "Weighted", "precision"]


def precision(m: Measurement) -> Tensor:
    """Return 1 / (s^2 + u^2) (B,), the weight under which all noise levels s count about the same.

    u: `Operator.unseen`, the part of the error that does not depend on s.
    """
    return 1 / (m.level**2 + m.operator.unseen**2)


class Weighted(Loss):
    """weight(m) times the loss of m; weight: m -> (B,)."""

    def __init__(self, loss: Loss, weight: Callable[[Measurement], Tensor] = precision) -> None:
        self.loss = loss
        self.weight = weight
        self.passes = loss.passes

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return self.weight(m) * self.loss(f, m, generator)


class Noisier(Loss):
    """The loss at a higher level: of y_t, t = 1 / ratio^2 drawn per sample, ratio = s / sigma >= 1 from its law."""

    def __init__(self, loss: Loss, ratio: Law) -> None:
        self.loss = loss
        self.ratio = ratio
        self.passes = loss.passes

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        t = self.ratio(m.level, generator).clamp_min(1) ** -2  # rounding, and laws that reach below 1
        return self.loss(f, m.noisier(t, generator), generator)


class Sum(Loss):
    """sum_j weight_j loss_j, all of the same batch. parts: (weight, loss) pairs, weights > 0."""

    def __init__(self, parts: Sequence[tuple[float, Loss]]) -> None:
        weights = [weight for weight, _ in parts]
        if not parts or min(weights) <= 0:
            raise UnveilError(f"the weights of a sum must be > 0, not {weights}")
        self.parts = tuple(parts)
        self.passes = sum(loss.passes for _, loss in parts)

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        return torch.stack([weight * loss(f, m, generator) for weight, loss in self.parts]).sum(0)


class Mix(Loss):
    """The batch divided between several losses: the first samples go to the first loss, and so on.

    parts: (share, loss) pairs; shares are > 0 and sum to 1. Batches come in random order, so the split may be fixed.
    """

    def __init__(self, parts: Sequence[tuple[float, Loss]]) -> None:
        shares = [share for share, _ in parts]
        if not parts or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise UnveilError(f"the shares of a mix must be > 0 and sum to 1, not {shares}")
        self.parts = tuple(parts)
        self.passes = sum(share * loss.passes for share, loss in parts)

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        start, total, losses = 0, 0.0, []
        for share, loss in self.parts:
            total += share
            stop = round(total * len(m))
            if stop > start:
                losses.append(loss(f, m[start:stop], generator))
            start = stop
        return torch.cat(losses)
