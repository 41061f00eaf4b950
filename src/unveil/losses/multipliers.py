"""Lagrange multipliers, which belong to the training: they rise along their gradients while the weights descend.

    v <- mu v + dK / dl,     l <- l + rate v,     -MOST <= l <= MOST

is ascent with momentum (Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5): a steady gradient moves l by
rate / (1 - mu) times itself. l is the logarithm of a factor of something positive, which therefore stays so; the bound
keeps it from where it would not come back from. Where it is reached, v starts anew.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unveil.errors import UnveilError

__all__ = ["Multipliers"]

MOST = math.log(100)


class Multipliers(nn.Module):
    """Logarithms l by name, 0 at first, and how fast they are rising.

    shapes: of each. rate, momentum: > 0, and mu in [0, 1). Raises UnveilError for others.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], rate: float, momentum: float) -> None:
        super().__init__()
        if not (rate > 0 and 0 <= momentum < 1):
            raise UnveilError(f"rate = {rate:g} and momentum = {momentum:g}: they must be > 0, and in [0, 1)")
        self.rate, self.momentum = rate, momentum
        self.logs = nn.ParameterDict({name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()})
        for name, shape in shapes.items():
            self.register_buffer(f"velocity_{name}", torch.zeros(shape))

    @property
    def values(self) -> dict[str, Tensor]:
        """Return the logarithms by name, without a graph."""
        return {name: log.detach() for name, log in self.logs.items()}

    @torch.no_grad()
    def ascend(self) -> None:
        """Move each along its gradient; one without stays where it is."""
        for name, log in self.logs.items():
            if log.grad is None:
                continue
            velocity = self.get_buffer(f"velocity_{name}")
            velocity.mul_(self.momentum).add_(log.grad)
            log.add_(velocity, alpha=self.rate).clamp_(-MOST, MOST)
            velocity[log.abs() == MOST] = 0

    def metrics(self) -> dict[str, float]:
        """Return the factors that are learned, as metrics of a step."""
        learned = {name: log for name, log in self.logs.items() if log.grad is not None and not log.ndim}
        return {f"factor_{name}": float(log.detach().exp()) for name, log in learned.items()}
