"""Validation without a reference, again and again as training goes on: a point of the learning curve.

Stein's estimate on held-out measurements, with its standard error (`unveil.evaluation.risk`). The measurements and the
probes are the same at every point, so that what a point is off by is off at the others too: differences of points are
known far better than points (`unveil.training.curve`).

The same of measurements that are learned from. There it is too low, for the weights know their noise; so that what they
are lower by bounds what more data can bring: with all the data there are, both were the same.

Of images also at half the noise, on means over 2 x 2 blocks, which are as good as images of four times the exposure
where the images look alike at both scales; of incomplete measurements also on entries that were hidden from the
network, the only evidence on what A leaves out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unveil.dataset import Dataset
from unveil.evaluation.resolution import MOST, variance_errors
from unveil.evaluation.risk import Risk, estimate_risk
from unveil.losses import HiddenEntries, Loss, Stein
from unveil.measurement import Measurement
from unveil.random import make_generator
from unveil.training.curve import FITTED, HELD_OUT

__all__ = ["make_validation"]

MOST_IMAGES = 8
LARGEST_SIDE = 192
SMALLEST_SIDE = 64
"""Pixels, of the parts that a few images are cut into, for their scatter to be seen."""
PROBES = 2
Found = Literal["all", "each"] | None
"""Whether the noise's parameters were found in all images together, or in each; None: they are known."""


@dataclass(frozen=True)
class _Part:
    """A part of image i that is validated on: `box` of it, or all where that is None or it has no windows."""

    i: int
    box: tuple[int, int, int, int]


def make_validation(
    data: Dataset, seed: int, fitted: Dataset | None = None, found: Found = None
) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function f -> {"error", "error_se", "psnr_estimate", ...}, the same probes at every call.

    error estimates |A (f(y) - x)|^2 / m in the mean over some measurements, of large images on their centres, few of
    them in parts; error_half the same of 2 x 2 means, error_hidden of hidden entries. psnr_* are -10 log10 of these, in
    dB for signals in [0, 1]; where one is not resolved (`unveil.evaluation.resolution`) there is none.
    held_out/k, fitted/k: the errors of the single parts; of `data` where none of it is in `fitted`, what is learned
    from, and of that. found: how uncertain the noise is.
    """
    images = min(MOST_IMAGES, len(data))
    parts, learned = _parts(data, range(images)), []
    apart = fitted is not None and not _names(data) & _names(fitted)
    if fitted is not None and apart:
        learned = _parts(fitted, range(0, len(fitted), -(-len(fitted) // MOST_IMAGES)))
    also = "hidden" if data.operator.unseen else "half"
    uncertain = [0.0] * images if found is None else variance_errors(data, found == "each")[:images]

    def validate(f: nn.Module) -> dict[str, float]:
        device = next(f.parameters()).device
        other, risks = 0.0, []
        for k, part in enumerate(parts):
            m = _read(data, part).to(device)
            risks.append(estimate_risk(f, m, make_generator(device, seed, k, 1), PROBES))
            loss = HiddenEntries() if also == "hidden" else Stein()
            seen = m if also == "hidden" else m.coarser(2) or m
            other += _mean(loss, f, seen, seed, k, 2) / len(parts)
        errors = [float(risk.error) for risk in risks]
        error = sum(errors) / len(errors)
        metrics = {"error": error, "error_se": _se(risks, parts, uncertain, found), f"error_{also}": other}
        by_image = [[e for e, part in zip(errors, parts) if part.i == i] for i in range(images)]
        resolved = found is None or all(d <= MOST * sum(own) / len(own) for d, own in zip(uncertain, by_image))
        mean_d = sum(uncertain) / images
        if not resolved:
            metrics["error_uncertain"] = mean_d
        coarse = found is None or mean_d / 4 <= MOST * other
        for name, value, known in (
            ("psnr_estimate", error, resolved),
            ("psnr_hidden" if also == "hidden" else "psnr_estimate_half", other, also == "hidden" or coarse),
        ):
            if value > 0 and known:
                metrics[name] = -10 * math.log10(value)
        kind = HELD_OUT if apart or fitted is None else FITTED
        metrics |= {f"{kind}{k}": value for k, value in enumerate(errors)}
        for k, part in enumerate(learned):
            m = _read(fitted, part).to(device)  # type: ignore[arg-type]  # there are none without it
            metrics[f"{FITTED}{k}"] = _mean(Stein(), f, m, seed, k, 3)
        return metrics

    return validate


def _names(data: Dataset) -> set[str]:
    return {data.source.name(i) for i in range(len(data))}


def _se(risks: Sequence[Risk], parts: Sequence[_Part], uncertain: Sequence[float], found: Found) -> float:
    """Return the standard error of the mean error of these images; what images share does not get less in it."""
    n = len(parts)
    own = sum(float(risk.se) ** 2 for risk in risks) / n**2
    mean = sum(uncertain) / len(uncertain)
    shared = mean**2 if found == "all" else sum(d**2 for d in uncertain) / len(uncertain) ** 2
    return math.sqrt(own + shared)


def _mean(loss: Loss, f: nn.Module, m: Measurement, *key: int) -> float:
    value: Tensor = loss(f, m, make_generator(m.y.device, *key))
    return value.item()


def _parts(data: Dataset, which: Sequence[int]) -> list[_Part]:
    """Return what to validate on: the middle of each image, or the middles of parts of a few large ones."""
    across = math.isqrt(max(1, -(-MOST_IMAGES // len(which))) - 1) + 1
    parts = []
    for i in which:
        _, height, width = data.source.shape(i)
        k = max(1, min(across, height // SMALLEST_SIDE, width // SMALLEST_SIDE))
        if data.operator.select(torch.tensor([i])).window((0, 0, 1, 1)) is None:
            k = 1
        h, w = height // k, width // k
        for row in range(k):
            for column in range(k):
                side, other = min(h, LARGEST_SIDE), min(w, LARGEST_SIDE)
                parts.append(_Part(i, (row * h + (h - side) // 2, column * w + (w - other) // 2, side, other)))
    return parts


def _read(data: Dataset, part: _Part) -> Measurement:
    """Return the part, where the measurement has windows, and else all of it."""
    return data.window(part.i, part.box) or data[part.i]
