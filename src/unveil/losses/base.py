"""The contract of a loss: an unbiased estimate, from y alone, of the supervised loss |A (f(y) - x)|^2 / m.

Each loss answers for every sample of the batch by itself, never for their mean: weights, combinators and statistical
tests need the parts. m counts the measured entries (see `unveil.operators.base`). A loss holds no operator and no
noise: all that is known of a batch comes with its measurement.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unveil.losses.multipliers import Multipliers
from unveil.measurement import Estimator, Measurement

__all__ = ["Law", "Loss"]

Law = Callable[[Tensor, torch.Generator], Tensor]
"""A law of a positive factor: (like (B,), generator) -> one draw per sample (B,)."""


class Loss(ABC):
    """loss(f, m, generator) -> (B,), in squared units of y.

    passes: the cost, in network passes of a whole batch (each with its backward pass in training); 1 is the
            supervised step's.
    multipliers: what training learns along with the network; each call gives them their gradients.
    """

    passes: float = 1.0
    multipliers: Multipliers | None = None

    @abstractmethod
    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        """Return the loss (B,) of each sample of the measurement m."""
