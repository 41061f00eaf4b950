"""The learning curve: errors without a reference of the same measurements, with the same probes, as training goes on.

    D = mean over k of  S_k(before) - S_k(after)

S_k estimates the error of measurement k up to a deviation that is nearly the same at both points, for the noise and the
probe are: of D it is no part, nor is what the variance of the noise is not known by. So the scatter of the differences
over the measurements is its standard error; it is about the gain on further measurements like these.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.student import student

__all__ = ["FEWEST", "FITTED", "HELD_OUT", "Curve", "Gain", "errors_of", "gap", "paired", "since"]

HELD_OUT, FITTED = "held_out/", "fitted/"
"""What the names of errors of single measurements begin with, in the log: held out, and learned from."""
FEWEST = 3
"""Measurements, below which no scatter is seen."""


class Gain(NamedTuple):
    """By how much the mean error fell, its standard error, and the reach of its interval of 95% (nan: not known)."""

    value: float
    se: float
    reach: float


@dataclass(frozen=True)
class Curve:
    """steps: (K,), at which it was validated. held_out: (K, n) the errors, fitted: (K, l), n or l may be 0."""

    steps: Tensor
    held_out: Tensor
    fitted: Tensor

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, float]]) -> "Curve":
        """Return the curve in the lines of a log, oldest first; lines of other measurements than the last are left out.

        Nothing but finite numbers counts.
        """
        points = [(line["step"], errors_of(line, HELD_OUT), errors_of(line, FITTED)) for line in lines]
        points = [p for p in points if (p[1] or p[2]) and all(map(math.isfinite, (*p[1], *p[2])))]
        alike = [p for p in points if (len(p[1]), len(p[2])) == (len(points[-1][1]), len(points[-1][2]))]
        steps, held_out, fitted = zip(*alike) if alike else ((), (), ())
        return cls(*(torch.tensor(part, dtype=torch.float64) for part in (steps, held_out, fitted)))

    def __len__(self) -> int:
        """Return K."""
        return len(self.steps)

    @property
    def judged(self) -> Tensor:
        """The errors (K, n) that training is judged by: of held-out measurements, where there are some."""
        return self.held_out if self.held_out.ndim == 2 and self.held_out.shape[1] else self.fitted

    def gain(self, before: int, after: int) -> Gain:
        """Return by how much the mean error fell from one point to another."""
        return paired(self.judged[before], self.judged[after])


def errors_of(line: Mapping[str, float], kind: str) -> list[float]:
    """Return the errors of the single measurements in a line of the log."""
    found: list[float] = []
    while (value := line.get(f"{kind}{len(found)}")) is not None:
        found.append(value)
    return found


def paired(before: Tensor, after: Tensor) -> Gain:
    """Return the mean of before - after (n,) and what is known of it by its scatter."""
    d = before - after
    if len(d) < FEWEST:
        return Gain(float(d.mean()), math.nan, math.nan)
    se = float(d.std()) / math.sqrt(len(d))
    return Gain(float(d.mean()), se, student(0.95, len(d) - 1) * se)


def since(curve: Curve) -> tuple[int, Tensor, Tensor]:
    """Return the point at a quarter of the steps, and gains since then, dB: held out (K', n) and learned from (K', l).

    nan where an error is not positive. The quarter: by then the network knows images at all, which differ in how much
    that brings; before it, few were seen twice.
    """
    first = int((curve.steps >= float(curve.steps[-1]) / 4).int().argmax())
    parts = []
    for errors in (curve.held_out[first:], curve.fitted[first:]):
        parts.append(10 * (errors[:1].clamp_min(0) / errors.clamp_min(0)).log10())
    return first, parts[0], parts[1]


def gap(curve: Curve) -> Gain | None:
    """Return by how many dB more those learned from gained than those held out; None where that is not known."""
    if not len(curve) or min(curve.held_out.shape[1], curve.fitted.shape[1]) < FEWEST:
        return None
    _, held_out, fitted = since(curve)
    if len(held_out) < 2 or not bool(held_out.isfinite().all() and fitted.isfinite().all()):
        return None
    ends = held_out[-1], fitted[-1]
    se = math.sqrt(sum(float(end.var()) / len(end) for end in ends))
    freedom = min(len(end) for end in ends) - 1
    return Gain(float(fitted[-1].mean() - held_out[-1].mean()), se, student(0.95, freedom) * se)
