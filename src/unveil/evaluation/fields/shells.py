"""Down to which detail do two halves of a volume agree? Fourier shell correlation.

The Fourier ring correlation of `unveil.evaluation.rings`, over shells of the volume's frequencies

    |k|^2 = k_x^2 + k_y^2 + (k_z / step)^2,      in cycles per pixel of a slice

(Harauz and van Heel 1986; thresholds as there: van Heel and Schatz 2005, https://doi.org/10.1016/j.jsb.2005.05.009,
Rosenthal and Henderson 2003, https://doi.org/10.1016/j.jmb.2003.07.013); step: the distance of slices over the side of
a pixel. Slices are measured, and estimated, one by one: the halves of each are drawn, and made one volume. Only images
that a file calls a depth are (`unveil.data.depth`), all of them in their order. Of a large volume the middle of each
slice is looked at. A shell beyond 1 / (2 step) holds the frequencies of the slices alone.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.data.depth import Place
from unveil.evaluation.fields.figure import Chart, Figure, Found, Subject
from unveil.evaluation.rings import LEAST, MOST, Rings, of_pair, rings_record

__all__ = ["Shells", "Slice"]

FEWEST = 8
"""Slices."""
VOXELS = 2**22
"""Of a volume, at the most."""


class Slice(NamedTuple):
    """The middle of one slice (2, C, h, w), halves of its exposure as they are and as estimated; and its place."""

    raw: Tensor
    seen: Tensor
    place: Place


class Shells(Figure[Slice]):
    name = "shells"

    def look(self, subject: Subject) -> Slice | None:
        m, place = subject.m, subject.place
        if place is None or place.count < FEWEST or not subject.whole or min(m.y.shape[2:]) < LEAST:
            return None
        side = max(LEAST, math.isqrt(VOXELS // place.count))
        h, w = (min(n, side) for n in m.y.shape[2:])
        top, left = ((n - cut) // 2 for n, cut in zip(m.y.shape[2:], (h, w)))
        views = m.recorrupt(torch.full((1,), 0.5, device=m.y.device), subject.generator)
        raw, seen = (torch.cat(parts) for parts in ([one.y for one in views], [subject.f(one) for one in views]))
        raw, seen = (part[..., top : top + h, left : left + w].cpu() for part in (raw, seen))
        return Slice(raw, seen, place)

    def found(self, kept: Mapping[str, Slice]) -> Found | None:
        volumes: dict[str, list[Slice]] = {}
        for one in kept.values():
            volumes.setdefault(one.place.volume, []).append(one)
        whole = [sorted(one, key=lambda s: s.place.number) for one in volumes.values() if _is_whole(one)]
        alike = [one for one in whole if _kind(one) == _kind(whole[0])]
        if not alike:
            return None
        place = alike[0][0].place
        record = rings_record(_sum([_shells(one) for one in alike]), 3)
        unit, pixel = (place.unit, place.pixel) if place.pixel else ("pixels", 1.0)
        names = {
            "to_truth_half": "with the truth, 1/2",
            "halves_seventh": "of estimated halves, 1/7",
            "halves_half_bit": "of estimated halves, half-bit",
            "raw_half_bit": "of halves as measured, half-bit",
        }
        told = [f"{text}: {record['pixels'][key] * pixel:.3g} {unit}" for key, text in names.items()
                if math.isfinite(record["pixels"][key])]  # fmt: skip
        said = f"Fourier shells of {len(alike)} volume{'s' if len(alike) > 1 else ''}: resolved periods "
        said += "; ".join(told) + "." if told else "are none."
        step = (
            "slices are taken to be a pixel apart: the file does not say"
            if place.step is None
            else (f"slices are {place.step:.3g} pixels apart")
        )
        curves = {
            "two halves, as measured": record["raw"],
            "the two, each estimated by itself": record["halves"],
            "estimate and truth, without a reference": record["to_truth"],
            "half-bit": record["half_bit"],
        }
        return Found(
            "Fourier shell correlation",
            "told",
            said,
            f"{place.count} slices; {step}. What one network makes up in both halves agrees too: trust the first.",
            {"volumes": len(alike), "slices": place.count, "step": place.step, "pixel": place.pixel,
             "unit": place.unit or None, **record},
            [Chart("Fourier shell correlation", said, "frequency, cycles per pixel of a slice", "correlation",
                   record["frequency"], curves, {"estimate and truth, without a reference": record["to_truth_se"]},
                   level={"1/7": 1 / 7})],
        )  # fmt: skip


def _is_whole(slices: list[Slice]) -> bool:
    numbers = sorted(one.place.number for one in slices)
    return numbers == list(range(slices[0].place.count)) and len({one.raw.shape for one in slices}) == 1


def _kind(slices: list[Slice]) -> tuple[object, ...]:
    place = slices[0].place
    return slices[0].raw.shape, place.count, place.step, place.pixel, place.unit


def _shells(slices: list[Slice]) -> Rings:
    raw, seen = (torch.stack([getattr(one, name) for one in slices], 2) for name in ("raw", "seen"))  # (2, C, D, h, w)
    step = slices[0].place.step or 1.0
    number = min(MOST, min(*raw.shape[3:], int(step * len(slices))) // 2)
    return of_pair((raw[:1], raw[1:]), (seen[:1], seen[1:]), number, (step, 1.0, 1.0))


def _sum(parts: list[Rings]) -> Rings:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
