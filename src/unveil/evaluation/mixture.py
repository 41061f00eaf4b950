"""The law of z, normal of the variance W, log W normal, E W = 1 and E (W - 1)^2 = varied.

0 is the normal law; the more W varies, the more z are small, and the more are large: a mixture of normal laws over
their scale (Andrews and Mallows 1974, https://doi.org/10.1111/j.2517-6161.1974.tb00989.x).
"""

import math

import torch

__all__ = ["inside", "quantile", "slope"]

GRID = torch.linspace(-6, 6, 481, dtype=torch.double)
"""Of the normal variable behind log W."""


def inside(varied: float, q: float) -> float:
    """Return how likely |z| <= q, q >= 0; varied >= 0."""
    weight, width = torch.exp(-GRID.square() / 2), math.log1p(varied)
    w = torch.exp(math.sqrt(width) * GRID - width / 2)
    return float((weight * torch.erf(q / (2 * w).sqrt())).sum() / weight.sum())


def quantile(varied: float, level: float) -> float:
    """Return the q that |z| is below with probability `level`, between 0 and 20."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(varied, middle) < level else (low, middle)
    return high


def slope(varied: float, q: float) -> float:
    """Return by how much the probability of |z| <= q grows with log q^2."""
    return (inside(varied, 1.01 * q) - inside(varied, 0.99 * q)) / 0.04
