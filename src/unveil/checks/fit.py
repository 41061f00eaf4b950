"""Does the stated noise fit the measurements? A plain verdict, from noisy images alone, before anything is learned.

In blocks that hold little but noise its variance is compared with the one that the noise family states
(`unveil.checks.misfits`); single values are compared with draws of it (`unveil.checks.values`). No family is known by
name: a new one is covered by its contract.

Thresholds were chosen on the first 200 photographs of BSD400; benchmarks/robustness.py measures on the other 200.

Sources. Blocks chosen by low and judged by high frequencies: see `unveil.noise.estimate`. Photon transfer: J. Janesick
2007, https://doi.org/10.1117/3.725073. Comparing data with draws of the fitted model: A. Gelman, X. Meng, H. Stern
1996, https://www.jstor.org/stable/24306036.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from unveil.checks.look import filled
from unveil.checks.misfits import FEWEST_IMAGES, STRONG, WEAK, misfits
from unveil.checks.quiet import Ratio, evened, local_mean, take_blocks
from unveil.checks.values import Values, odd_values
from unveil.noise import Noise
from unveil.noise.estimate.blocks import SIDE
from unveil.random import make_generator

__all__ = ["Fit", "noise_fit", "plain_figures", "verdict_of"]

CLIPPED, COARSE, ODD, ODD_IN_FEW = 0.01, 1.0, 3e-4, 1.2e-3
_KEY = 1018  # of draws that are those of nothing else
UNSURE = 0.12
"""The error of the level above which nothing is said."""


@dataclass(frozen=True)
class Fit:
    """Whether the noise model fits. reason: one line, what was found and what to do; empty where it fits.

    figures: what was looked at, numbers and lists of numbers by name, for JSON.
    """

    verdict: Literal["fits", "does not fit", "cannot be told"]
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = self.verdict != "cannot be told"
        verdict = f"the noise model {self.verdict}" if told else f"whether the noise model fits {self.verdict}"
        return f"{verdict}: {self.reason}" if self.reason else verdict


def noise_fit(images: Sequence[Tensor], noise: Noise) -> Fit:
    """Return whether `noise` fits images (C, H, W), real, of any sizes; NaN where a pixel is not measured.

    noise: in the images' units; where its parameters are one per sample, image i has the i-th. Where they differ from
    pixel to pixel blocks are looked at as if the noise of all pixels were that of the middle one (`evened`).
    """
    several = [image.detach().cpu() for image in images]
    noises = [noise.to("cpu").select(torch.tensor([i])) for i in range(len(several))]
    big = [i for i, image in enumerate(several) if min(image.shape[1:]) >= SIDE]
    several, noises = [several[i] for i in big], [noises[i] for i in big]
    if not several:
        return Fit("cannot be told", f"the images have less than {SIDE} x {SIDE} pixels")
    generator = make_generator("cpu", 0, _KEY)
    whole = [filled(y) for y in several]
    means = [local_mean(y) for y in whole]
    drawn = [n.sample(mean[None], generator)[0] for mean, n in zip(means, noises)]
    found: dict[str, Any] = {}
    values = odd_values(whole, noises, drawn)
    lines = list(_piled(values, found))
    even, alike = ([evened(y, n, mean) for y, n, mean in zip(row, noises, means)] for row in (several, drawn))
    middle = [n.middle for n in noises]
    blocks = take_blocks(even, middle)
    found["level"] = Ratio(math.nan, math.inf)
    if len(blocks.mean):  # else pixels are missing in all
        lines += misfits(blocks, take_blocks(alike, middle), noise, found)
    lines += _outliers(values, len(several), found)
    return verdict_of(lines, found)


def verdict_of(lines: list[str], found: dict[str, Any]) -> Fit:
    level: Ratio = found["level"]
    figures = plain_figures(found)
    if lines:
        return Fit("does not fit", lines[0], figures)
    if level.value > STRONG:
        return Fit("cannot be told", "the images have structure everywhere, or noise stronger than stated", figures)
    if not level.error < UNSURE or level.value < WEAK:
        return Fit("cannot be told", "the images have too few pixels without structure; give more", figures)
    return Fit("fits", "", figures)


def _piled(values: Values, found: dict[str, Any]) -> Iterator[str]:
    found["clipped"], found["step"] = values.clipped, None if math.isnan(values.step) else values.step
    if values.clipped > CLIPPED:
        yield (
            f"{values.clipped:.1%} of the values are piled up at {values.at:.3g}, an end of their range, where noise "
            "as stated would go beyond: they are clipped, or counts; use data from before it, or check noise.kind"
        )
    if values.step > COARSE:
        yield (
            f"neighbouring values are {values.step:.2g} deviations of the noise apart: what is left of the noise is "
            "rounding; use data from before the conversion to so few values"
        )


def _outliers(values: Values, images: int, found: dict[str, Any]) -> Iterator[str]:
    found["outliers"] = values.outliers
    if values.outliers > (ODD if images >= FEWEST_IMAGES else ODD_IN_FEW):
        yield (
            f"{values.outliers:.2%} of the pixels stand alone, far off all their neighbours (hot pixels, cosmic rays): "
            "replace them by the median of these"
        )


def plain_figures(value: Any) -> Any:
    """Return numbers, and lists and dictionaries of them; None for what is not finite, which JSON has not."""
    if isinstance(value, dict):
        return {name: plain_figures(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_figures(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
