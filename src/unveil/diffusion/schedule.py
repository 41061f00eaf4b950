"""Schedules: the exposures at which a sampler stops on its way from t_1 to t_N.

The level of the noise at exposure t is s = sigma t^(-1/2). Schedules are those of the levels, as ratios s / sigma:

    geometric   s_i = (s_N)^(i / (N-1))                       equal steps of ln t
    karras      s_i = (1 + i / (N-1) (s_N^(1/rho) - 1))^rho

(the latter of Karras et al. 2022, eq. 5, https://arxiv.org/abs/2206.00364). geometric is karras in the limit of a large
rho. A smaller rho spends more of its steps at low exposure, where the large structure of the signal is decided.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["SCHEDULES", "Schedule", "geometric", "karras"]

Schedule = Callable[[float, int], Tensor]
"""(the last level as a multiple of the first, < 1; how many) -> exposures (N,), float64, from 1 on."""

RHO = 7.0
"""The authors' choice; 1 would space the levels equally."""


def geometric(lowest: float, steps: int) -> Tensor:
    """Return exposures (N,) in geometric progression, from 1 to lowest^-2.

    >>> geometric(0.1, 3)
    tensor([  1.0000,  10.0000, 100.0000], dtype=torch.float64)
    """
    return _checked(lowest, steps, lambda share: lowest**share)


def karras(lowest: float, steps: int) -> Tensor:
    """Return exposures (N,) whose levels are equally spaced in s^(1/7), from 1 to lowest^-2."""
    return _checked(lowest, steps, lambda share: (1 + share * (lowest ** (1 / RHO) - 1)) ** RHO)


SCHEDULES: dict[str, Schedule] = {"geometric": geometric, "karras": karras}


def _checked(lowest: float, steps: int, level: Callable[[Tensor], Tensor]) -> Tensor:
    if steps < 1:
        raise UnveilError(f"steps is {steps}: a schedule needs at least 1")
    if not 0 < lowest < 1:
        raise UnveilError(f"the lowest level is {lowest} of the first: it must be in (0, 1)")
    share = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    return level(share) ** -2
