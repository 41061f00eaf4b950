"""Small combinators: more noise, weights, sums, and a batch shared between risks. Each takes risks and gives a risk."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import normal
from unveil.risks.base import Estimator, Law, Risk

__all__ = ["Mix", "Noisier", "Sum", "Weighted", "inverse_variance"]


def inverse_variance(sigma: Tensor) -> Tensor:
    """1 / sigma^2 (B,): the weight under which all noise levels count about the same."""
    return sigma**-2


class Weighted(Risk):
    """weight(sigma) times the risk at level sigma; weight: (B,) -> (B,)."""

    def __init__(self, risk: Risk, weight: Callable[[Tensor], Tensor] = inverse_variance) -> None:
        super().__init__(risk.problem)
        self.risk = risk
        self.weight = weight
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        return self.weight(sigma) * self.risk(f, y, sigma, generator)


class Noisier(Risk):
    """The risk at a higher level: y + sqrt(s^2 - sigma^2) w at s, s / sigma >= 1 drawn per sample from `ratio`."""

    def __init__(self, risk: Risk, ratio: Law) -> None:
        super().__init__(risk.problem)
        self.risk = risk
        self.ratio = ratio
        self.passes = risk.passes

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        s = sigma * self.ratio(sigma, generator).clamp_min(1)  # rounding, and laws that reach below 1
        added = (s**2 - sigma**2).clamp_min(0).sqrt()
        return self.risk(f, self.corrupt(y, added, normal(y, generator)), s, generator)


class Sum(Risk):
    """sum_j weight_j risk_j, all of the same batch. parts: (weight, risk) pairs, weights > 0."""

    def __init__(self, parts: Sequence[tuple[float, Risk]]) -> None:
        weights = [weight for weight, _ in parts]
        if not parts or min(weights) <= 0:
            raise UnveilError(f"the weights of a sum must be > 0, not {weights}")
        super().__init__(parts[0][1].problem)
        self.parts = tuple(parts)
        self.passes = sum(risk.passes for _, risk in parts)

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        return torch.stack([weight * risk(f, y, sigma, generator) for weight, risk in self.parts]).sum(0)


class Mix(Risk):
    """The batch divided between several risks: the first samples go to the first risk, and so on.

    parts: (share, risk) pairs; shares are > 0 and sum to 1. Batches come in random order, so the split may be fixed.
    The risks' problems must hold for any part of the batch: no masks of their own for single samples.
    """

    def __init__(self, parts: Sequence[tuple[float, Risk]]) -> None:
        shares = [share for share, _ in parts]
        if not parts or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise UnveilError(f"the shares of a mix must be > 0 and sum to 1, not {shares}")
        super().__init__(parts[0][1].problem)
        self.parts = tuple(parts)
        self.passes = sum(share * risk.passes for share, risk in parts)

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        batch, start, total, risks = y.shape[0], 0, 0.0, []
        for share, risk in self.parts:
            total += share
            stop = round(total * batch)
            if stop > start:
                risks.append(risk(f, y[start:stop], sigma[start:stop], generator))
            start = stop
        return torch.cat(risks)
