"""How large is the error by a second exposure of the same scene, which the network never saw?

    E [|y_2 - h|^2 - |y_2 - y_1|^2 / 2] / m  =  |h - u|^2 / m,      h = A f(y_1),

for y_2 is independent of h, and of the same variance as y_1: what the first has of noise is half of the second. No
noise model is needed, nor Stein's identity: it checks the error that is told without a repeat, and stands where the
model fails. About the error of this very image the sum has the variance

    E r^T C r + (K - 2 sum v^2) / 2,      r = y_1 + y_2 - 2 h,      K = sum var (y - u)^2,

of Gaussian noise the first term alone. C, v and K are the family's, times what the exposures show of its level.

Down to which detail two exposures, processed each by itself, agree, is their Fourier ring correlation, and that with
the truth as of halves (`unveil.evaluation.rings`); but the exposure is whole.

On photographs of 64 x 64 pixels (tests) the error was unbiased, and off by 0.8 to 1.2 of its standard errors: in
Gaussian noise, counts and correlated noise, of k-space, and with a stated variance of .6 of the true one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unveil.evaluation.fields.figure import Chart, Figure, Found, State, Subject
from unveil.evaluation.fields.pairing import Change, change_of, contradiction
from unveil.evaluation.interval import Error, mean_psnr
from unveil.evaluation.rings import Rings, of_pair, ring_number, rings_record
from unveil.measurement import Measurement

__all__ = ["Repeat", "Repeats"]

AGREE = 3.0
"""Standard errors."""
DRAWS = 4


@dataclass(frozen=True)
class Repeat:
    """One image: its error by the repeat and without it, squared units of y; rings or None; what the scene changed.

    wrong: why it is no repeat, in words, or None.
    """

    error: Error
    told: Error
    rings: Rings | None
    change: Change
    wrong: str | None


class Repeats(Figure[Repeat]):
    name = "repeat"
    governed = False

    def look(self, subject: Subject) -> Repeat | None:
        one, two, f = subject.m, subject.repeat, subject.f
        if two is None:
            return None
        h, again = one.predict(subject.x_hat), f(two)
        each = one.operator.project(two.operator.project((two.y - h).square() - (two.y - one.y).square() / 2))
        count = float(one.operator.project(two.operator.project(torch.ones_like(one.y))).sum())
        error = float(each.double().sum()) / count
        change = change_of(one, two, subject.whole)
        se = math.sqrt(_scatter(one, two, h, change.noise, subject.generator)) / count
        rings = None
        if subject.x_hat.ndim == 4 and (number := ring_number(min(subject.x_hat.shape[2:]))):
            raw = (one.y, two.y) if subject.whole else None
            rings = of_pair(raw, (subject.x_hat, again), number)
        told = Error(float(subject.risk.error), float(subject.risk.se))
        wrong = contradiction(change, max(error, 0.0), subject.x_hat, again, one, two, subject.whole)
        return Repeat(Error(error, se), told, rings, change, wrong)

    def found(self, kept: Mapping[str, Repeat]) -> Found | None:
        if not kept:
            return None
        title = "The error by a second exposure"
        wrong = {name: one.wrong for name, one in kept.items() if one.wrong is not None}
        values: dict[str, Any] = {"images": {name: _values(one) for name, one in kept.items()}}
        if wrong:
            name, why = next(iter(wrong.items()))
            said = f"The repeat of {name} {why}; {len(wrong)} of {len(kept)} are so: give second exposures of these."
            return Found(title, "bad", said, "", values)
        every = list(kept.values())
        mean = mean_psnr([one.error for one in every])
        gap = sum(one.error.error - one.told.error for one in every) / len(every)
        se = math.sqrt(sum(one.error.se**2 + one.told.se**2 for one in every)) / len(every)
        z = gap / max(se, 1e-30)
        noise = sum(one.change.noise for one in every) / len(every)
        values |= {"mean": mean, "z": z, "noise": noise}
        sums = [one.rings for one in every if one.rings is not None]
        rings = None
        if sums and len({len(one.count) for one in sums}) == 1:
            rings = rings_record(sum(sums[1:], sums[0]))
            values["resolution"] = rings
        state, said = _said(mean, z)
        return Found(
            title, state, said + _resolved(rings),
            f"{len(every)} repeats, which no noise model is needed for; they differ from the measurements by "
            f"{noise:.2f} of the noise that is stated for both.",
            values, [] if rings is None else [_chart(rings)],
        )  # fmt: skip


def _scatter(one: Measurement, two: Measurement, h: Tensor, noise: float, generator: torch.Generator) -> float:
    """Return the variance of the sum over all entries. noise: of the stated variance, what the exposures differ by."""
    r = one.operator.project(two.operator.project(one.y + two.y - 2 * h))
    straight = noise * float(one.noise.sum_variance(r, h))
    if not one.noise.white:
        return straight
    v = one.operator.project(two.operator.project(one.noise.variance(h).clamp_min(0))).double()
    drawn = (one.operator.project(two.operator.project(one.noise.sample(h, generator) - h)) for _ in range(DRAWS))
    fourth = sum(float(n.double().pow(4).sum()) for n in drawn) / DRAWS
    return max(straight + noise**2 * (fourth - 3 * float(v.square().sum())) / 2, 0.0)


def _said(mean: Mapping[str, float], z: float) -> tuple[State, str]:
    away = f"{abs(z):.1f} standard errors of the difference"
    agree = f"what is told without it {'agrees, to' if abs(z) <= AGREE else 'is off by'} {away}"
    state: State = "good" if abs(z) <= AGREE else "bad"
    if not math.isfinite(mean["psnr"]):
        return "unsure", f"By a second exposure the error is not told from 0; {agree}."
    return state, (
        f"By a second exposure the PSNR is {mean['psnr']:.2f} dB, {mean['low']:.2f} to {mean['high']:.2f} in 95%; "
        f"{agree}."
    )


def _resolved(rings: Mapping[str, Any] | None) -> str:
    period = math.nan if rings is None else rings["pixels"]["to_truth_half"]
    return f" Periods from {period:.3g} pixels on are resolved." if math.isfinite(period) else ""


def _values(one: Repeat) -> dict[str, Any]:
    return {
        "error": one.error.error, "se": one.error.se, "told": one.told.error, "told_se": one.told.se,
        "change": one.change.size, "change_se": one.change.se, "noise": one.change.noise, "wrong": one.wrong,
    }  # fmt: skip


def _chart(rings: Mapping[str, Any]) -> Chart:
    labels = {
        "raw": "two exposures, as measured", "halves": "the two, each estimated by itself",
        "to_truth": "estimate and truth, without a reference",
    }  # fmt: skip
    return Chart(
        "Fourier ring correlation of two exposures",
        "What one network makes up in both agrees too; the correlation with the truth does not count it.",
        "frequency, cycles per pixel",
        "correlation",
        rings["frequency"],
        {label: rings[key] for key, label in labels.items() if rings[key] is not None}
        | {"half-bit": rings["half_bit"]},
        {labels["to_truth"]: rings["to_truth_se"]},
        level={"1/7": 1 / 7},
    )
