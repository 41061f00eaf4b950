"""Noise schedules: the levels at which a solver stops on its way from s_0 down to 0.

The diffusion is x_s = x + s w. A schedule of N steps is s_0 = sigma_max > ... > s_{N-1} = sigma_min > s_N =
0: N levels down to sigma_min, then 0. A solver's last step, from sigma_min to 0, is the denoiser's output,
so sigma_min is the noise below which nothing is drawn: choose it far below what matters in the picture.

    geometric   s_i = sigma_max (sigma_min / sigma_max)^(i / (N-1))      equal steps of lambda = -log s
    karras      s_i = (sigma_max^(1/rho) + i / (N-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

geometric is karras in the limit of a large rho. A smaller rho spends more of its steps at high levels,
where the large structure of the signal is decided.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["SCHEDULES", "Schedule", "geometric", "karras"]

Level = float | Tensor
Schedule = Callable[[Level, Level, int], Tensor]  # (sigma_max, sigma_min, steps) -> (steps + 1,) or (steps + 1, B)


def geometric(sigma_max: Level, sigma_min: Level, steps: int) -> Tensor:
    """Levels in geometric progression: equal steps of lambda = -log s.

    sigma_max: first level, > sigma_min, in the data's units; a number, or (B,) for one schedule per sample.
    sigma_min: last level above 0, > 0; a number or (B,).
    steps: N >= 1. With N = 1 the levels are (sigma_max, 0).
    Returns (N + 1,) or (N + 1, B), float64 for numbers, else the tensor's dtype; the last level is 0.
    Raises UnveilError if sigma_min <= 0, sigma_max <= sigma_min or steps < 1.
    """
    high, low, t = _checked(sigma_max, sigma_min, steps)
    return _ended(high * (low / high) ** t, high)


def karras(sigma_max: Level, sigma_min: Level, steps: int, rho: float = 7.0) -> Tensor:
    """Levels equally spaced in s^(1/rho) (Karras et al. 2022, eq. 5, https://arxiv.org/abs/2206.00364).

    sigma_max, sigma_min, steps, returns, errors: as `geometric`.
    rho: > 0; 1 spaces the levels equally, 7 is the authors' choice. Raises UnveilError if rho <= 0.
    """
    if not rho > 0:
        raise UnveilError(f"rho is {rho}: it must be > 0; 7 is the usual choice")
    high, low, t = _checked(sigma_max, sigma_min, steps)
    return _ended((high ** (1 / rho) + t * (low ** (1 / rho) - high ** (1 / rho))) ** rho, high)


SCHEDULES: dict[str, Schedule] = {"geometric": geometric, "karras": karras}


def _checked(sigma_max: Level, sigma_min: Level, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both levels as tensors of one shape () or (B,), and t = i / (N-1) as (N, 1) or (N,)."""
    if steps < 1:
        raise UnveilError(f"steps is {steps}: a schedule needs at least 1")
    given = [value for value in (sigma_max, sigma_min) if isinstance(value, Tensor)]
    dtype = given[0].dtype if given and given[0].is_floating_point() else torch.float64
    device = given[0].device if given else torch.device("cpu")
    high, low = (torch.as_tensor(v, dtype=dtype, device=device) for v in (sigma_max, sigma_min))
    high, low = torch.broadcast_tensors(high, low)
    if high.ndim > 1:
        raise UnveilError(f"the levels have shape {tuple(high.shape)}: pass numbers or one level per sample, (B,)")
    if not bool((low > 0).all()):
        raise UnveilError(f"sigma_min is {float(low.min()):g}: it must be > 0; the step to 0 is added by itself")
    if not bool((high > low).all() and high.isfinite().all()):
        worst = int((high - low).nan_to_num(-1.0, -1.0).argmin())
        raise UnveilError(
            f"sigma_max is {float(high.reshape(-1)[worst]):g} and sigma_min "
            f"{float(low.reshape(-1)[worst]):g}: sigma_max must be finite and the larger; lower sigma_min"
        )
    t = torch.arange(steps, dtype=dtype, device=device) / max(steps - 1, 1)
    return high, low, t.reshape(-1, *[1] * high.ndim)


def _ended(levels: Tensor, high: Tensor) -> Tensor:
    """The levels with 0 after the last; the first made exact: a sampler must start at y's own level."""
    return torch.cat([high[None], levels[1:], torch.zeros_like(high)[None]])
