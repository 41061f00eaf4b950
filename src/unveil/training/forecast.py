"""What twice the steps would bring: a saturating power law through the learning curve.

    S(t) = S_inf + c t^-a,      gain = S(T) - S(2 T)

fitted to the mean errors of the points from T / 4 on: linear in S_inf and c, and a by search. What all points are off
by is in S_inf, and no part of the gain. The averaged weights at step t of a long training are about as good as those at
the end of one of t steps, whose rate falls to zero by then; about: the last points of a curve gain little as the rate
falls, and the law takes that for the end of what there is to learn. So it is a bound from below, and told as one.

The uncertainty has two parts. Measurements: each is left out in turn (jackknife). The law: it is also fitted to the
points up to T / 2, and what it then says of S(T), twice as far, is compared with what came. Where that missed by more
than MISS of what was gained, or no curve that falls and flattens fits, nothing is told.

On photographs in noise of .1, a network of 70,000 parameters and 8 crops a step (benchmarks/curves.py): from 150 and
300 steps, an eighth of which is within the warm-up, nothing is told, rightly: the law alone would have said .33 dB from
300 steps, and .49 came. From 600 steps it says .21 dB, its lower end .10, and .42 came.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.student import student
from unveil.training.curve import FEWEST, Curve

__all__ = ["Forecast", "forecast"]

FEWEST_POINTS = 4
"""Of a curve of three parameters."""
EXPONENTS = torch.logspace(-1.3, 0.6, 400, dtype=torch.float64)
"""a, from .05, about a logarithm, to 4."""
MISS = 0.5


@dataclass(frozen=True)
class Forecast:
    """steps: 2 T. gain: by how much the mean error falls until then, and the reach of its interval of 95%; or nan.

    reason: why nothing is told, else empty. now: the mean error at T.
    """

    steps: int
    now: float
    gain: float = math.nan
    reach: float = math.nan
    reason: str = ""

    @property
    def decibels(self) -> tuple[float, float]:
        """Return the gain in dB and the lower end of its interval; nan where it is not told."""
        return self._decibels(self.gain), self._decibels(self.gain - self.reach)

    def _decibels(self, gain: float) -> float:
        left = 1 - gain / self.now if self.now > 0 else math.nan
        return -10 * math.log10(left) if left > 0 else math.nan


def forecast(curve: Curve) -> Forecast | None:
    """Return what twice the steps would bring; None of a curve without points."""
    if not len(curve):
        return None
    t, errors = curve.steps, curve.judged
    last, now = float(t[-1]), float(errors[-1].mean())
    whole = Forecast(int(2 * last), now)
    if errors.shape[1] < FEWEST:
        return _untold(whole, "fewer than 3 held-out measurements")
    kept, early = t >= last / 4, (t >= last / 8) & (t <= last / 2)
    if int(kept.sum()) < FEWEST_POINTS or int(early.sum()) < FEWEST_POINTS:
        return _untold(whole, "too few validations: lower training.validate_every to a twentieth of the steps")
    middle = float(t[early][-1])
    gain = _gain(t[kept], errors[kept].mean(1), last, 2 * last)
    before = _gain(t[early], errors[early].mean(1), middle, last)
    if gain is None or before is None:
        return _untold(whole, "no power law that falls and flattens fits the curve")
    came = float(errors[early][-1].mean()) - now
    if not came > 0 or abs(before - came) > MISS * came:
        return _untold(whole, "from its first half the law would have missed what the second half brought")
    n = errors.shape[1]
    others = torch.arange(n)
    drawn = []
    for i in range(n):
        left = errors[:, others != i].mean(1)
        one = _gain(t[kept], left[kept], last, 2 * last)
        if one is None:
            return _untold(whole, "whether the law fits hangs on single measurements")
        drawn.append(one * now / float(left[-1]) if min(now, float(left[-1])) > 0 else one)  # large errors gain more
    left_out = torch.tensor(drawn, dtype=torch.float64)
    se = float(left_out.std(correction=0)) * math.sqrt(n - 1)
    miss = abs(before - came) / came * gain
    return Forecast(whole.steps, now, gain, math.hypot(student(0.95, n - 1) * se, 2 * miss))


def _untold(found: Forecast, reason: str) -> Forecast:
    return Forecast(found.steps, found.now, reason=reason)


def _gain(t: Tensor, errors: Tensor, now: float, then: float) -> float | None:
    """Return the fall from `now` to `then` by the law through points (K,); None where none falls and flattens."""
    x = (t / now) ** -EXPONENTS[:, None]
    dx, dy = x - x.mean(1, keepdim=True), errors - errors.mean()
    c = (dx * dy).sum(1) / dx.square().sum(1)
    k = int((dy - c[:, None] * dx).square().sum(1).argmin())
    fall = float(c[k] * (1 - (then / now) ** -EXPONENTS[k]))
    return fall if fall > 0 else None
