"""Calibration of samples in what A does not see, without a reference: turned, what was unseen is measured.

If T_g x is as likely an image as x, whatever g, then A T_g x has the power of A x, which y tells. An average has less,
by the spread of what it is the mean of: with x_hat = E[x | y] and samples x' ~ p(x | y),

    E |A x|^2 - E |A T_g x_hat|^2 = E |A T_g (x - x_hat)|^2            the error of x_hat, seen by a turned instrument
    E |A T_g x'|^2 - E |A T_g x_hat|^2 = E |A T_g (x' - x_hat)|^2      the spread of the samples, seen by the same

and their ratio is 1 for exact samples. Too narrow samples have too little power where A has turned to: if what A does
not see stands at its mean in all of them, only the share of the spread that it does see is left. The first line leans
on x_hat being the posterior mean and on the symmetry, and on nothing else: no noise is drawn, and none is predicted.
(ours)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.symmetry import Symmetry, make_symmetry
from unveil.words import counted

__all__ = ["Turned", "energy_kept", "turned_power", "turned_spread"]

KEEPING = ("shift", "flip", "quarter", "rotate")
"""Symmetries of images that keep their energy."""


def energy_kept(names: Sequence[str]) -> Symmetry | None:
    """Return those of the symmetries of a configuration that keep the energy of an image; None without any."""
    kept = [name for name in names if name in KEEPING]
    return make_symmetry(kept) if kept else None


class Turned(NamedTuple):
    """Mean squares on the measured entries, in squared units of y, each (B,): the spread of samples, and the error."""

    spread: Tensor
    error: Tensor


@torch.no_grad()
def turned_power(
    m: Measurement,
    x_hat: Tensor,
    samples: Tensor,
    symmetry: Symmetry,
    generator: torch.Generator,
    *,
    mean: float = 0.0,
    turns: int = 8,
) -> Turned:
    """Return the spread of samples and the error of x_hat, as the turned instrument would measure them.

    m: y, (B, *measurement). x_hat: E[x | y] (B, *image). samples: (S, B, *image), of p(x | y). symmetry: T_g, which
    keep the energy of an image, such as turns, flips and shifts. mean: of the images, from which power is counted: it
    changes no expectation, and the less it leaves the less the result scatters. turns: how many T_g are drawn.
    Of one measurement the error may be negative; means over many are to be used (`turned_spread`).
    """
    level = torch.full_like(x_hat, mean)
    noise = m.operator.mean(m.noise.estimated_variance(m.y))
    power = m.mean_square(m.y - m.predict(level)) - noise
    of_mean, of_samples = torch.zeros_like(power), torch.zeros_like(power)
    for _ in range(turns):
        g = symmetry.draw(x_hat, generator)
        of_mean += m.mean_square(m.predict(symmetry.apply(x_hat - level, g))) / turns
        for x in samples:
            turned = m.predict(symmetry.apply(x - level, g))
            of_samples += m.mean_square(turned) / (turns * len(samples))
    return Turned(of_samples - of_mean, power - of_mean)


def turned_spread(parts: Turned) -> tuple[float, float]:
    """Return spread over error of many measurements, 1 for exact samples, and its standard error (by the jackknife).

    Raises UnveilError for fewer than two, and where the error is no more than its own standard error: then nothing can
    be told.
    """
    spread, error = (part.double().cpu() for part in parts)
    n = len(error)
    if n < 2:
        raise UnveilError(f"of {counted(n, 'measurement')} it is not known how far their mean is: give two or more")
    if not float(error.mean()) > float(error.std()) / n**0.5:
        raise UnveilError(
            f"of {n} measurements the error that a turned instrument sees is not told from 0 "
            f"({float(error.mean()):.2g} of y's squared units): give more of them"
        )
    without = (spread.sum() - spread) / (error.sum() - error)
    deviation = float((without - without.mean()).square().sum() * (n - 1) / n) ** 0.5
    return float(spread.sum() / error.sum()), deviation
