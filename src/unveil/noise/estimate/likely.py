r"""The level of white noise in blocks of which each holds structure of a strength of its own.

A coefficient k of the DCT of block b is z_bk = structure + noise. Structure of photographs falls as a power of the
frequency, so that given its strength a_b, in levels of the noise, and one of few shapes g,

    z_bk ~ N(0, sigma^2 (1 + a_b g_k)),     g_k = (|k| / 5)^-2 or (|k| / 5)^-4.

The share of the blocks that each shape and strength has, of a grid from STRENGTHS and none, and sigma are those of
which the blocks are most likely (Kiefer and Wolfowitz 1956, https://doi.org/10.1214/aoms/1177728066), by steps of
expectation and maximisation. No block has to be flat: those with structure tell sigma by their highest frequencies,
each as far as it can.
"""

from functools import cache

import torch
from torch import Tensor

__all__ = ["likeliest_variance"]

FALLS = (2.0, 4.0)
STRENGTHS, COUNT = (-1.0, 2.5), 10
"""As powers of ten, and their number."""
STEPS, CLOSE = 40, 1e-4
"""How many, at most, and the share that the last one changes sigma^2 by."""
HIGHEST = 0.7
"""The share of the largest frequency from which on coefficients tell where to begin."""
LEAST = 0.1
MEDIAN = 0.4549364
"""Of the square of a normal variable."""
STEP = 0.3
"""The least that one step leaves of the variance."""


def likeliest_variance(squares: Tensor, down: Tensor, across: Tensor) -> float:
    """Return sigma^2 of squares z^2 (N, K) of coefficients; 0 where the highest frequencies hold nothing.

    At least LEAST of what these hold in the median block: noise that was blurred falls as structure does.

    down, across: (K,), their frequencies, not both 0.
    """
    z = squares.double().T
    order = down + across
    start = float(z[order >= HIGHEST * order.max()].median(1).values.median()) / MEDIAN
    if not start > 0:
        return 0.0
    g = _shapes(tuple(down.tolist()), tuple(across.tolist()))
    variance, weight = 1.0, torch.full((g.shape[1],), 0.5 / (g.shape[1] - 1), dtype=torch.float64)
    weight[0] = 0.5
    z = z / start
    for _ in range(STEPS):
        v = variance + g
        likely = weight.clamp_min(1e-9).log() - 0.5 * (v.log().sum(0) + z.T @ (1 / v))
        share = likely.softmax(1)  # (N, J)
        weight = share.mean(0)
        # Fisher's scoring of sum_j (n_j log v_kj + energy_kj / v_kj) in the variance
        energy, n, w = z @ share, share.sum(0), v**-2
        last, variance = variance, max(float((w * (energy - g * n)).sum() / (w * n).sum()), STEP * variance)
        if abs(variance - last) < CLOSE * last:
            break
    return max(variance, LEAST) * start


@cache
def _shapes(down: tuple[float, ...], across: tuple[float, ...]) -> Tensor:
    """Return the variances (K, J) of structure: none, then of each shape all strengths."""
    radius = (torch.tensor(down, dtype=torch.float64) ** 2 + torch.tensor(across, dtype=torch.float64) ** 2).sqrt()
    strengths = torch.logspace(*STRENGTHS, COUNT, dtype=torch.float64)
    shapes = [(radius / 5) ** -fall for fall in FALLS]
    parts = [torch.outer(shape / shape.median(), strengths) for shape in shapes]
    return torch.cat([torch.zeros(len(radius), 1, dtype=torch.float64), *parts], 1)
