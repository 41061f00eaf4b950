"""Are two measurements exposures of one scene, or did it move, or is it another?

    d = y_2 - y_1

is noise alone where they are, and white where the noise is: the mean square of its means over blocks of BLOCK x BLOCK
pixels is then mean d^2 / BLOCK^2, and what it has beyond that is a change of the scene. No variance has to be known.
Where blocks mean nothing (k-space), or the noise is correlated, it is mean d^2 beyond what the noise model says.

A change is told where it is CLEAR standard errors above 0, and more than a share TELLING of the error, which it would
shift as much. What it was is then asked of (x_1 + x_2) / 2, a function in which both exposures have the same part, so
that their noise is uncorrelated with d: the best whole shift, the part of d along its gradients, and along itself.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.measurement import Measurement

__all__ = ["Change", "change_of", "contradiction"]

BLOCK = 4
"""Pixels."""
CLEAR = 4.0
TELLING = 0.25
"""Of the error: 1 dB."""
SAME = 0.5
"""Of the noise that two exposures have: less is no second exposure."""
ALIKE = 0.5
"""The correlation of two estimates below which they do not show one scene."""
BETTER = 0.02
"""By how much a shift must better the correlation."""


class Change(NamedTuple):
    """By how much the scene differs, squared units of y, and the standard error; mean d^2 over the stated noise's."""

    size: float
    se: float
    noise: float


def change_of(one: Measurement, two: Measurement, whole: bool) -> Change:
    """Return how the scene of `two` differs from that of `one`, batches of one. whole: y is an image."""
    d = two.operator.project(one.operator.project(two.y - one.y))
    mean = _both(one, two)
    stated = float(mean(one.noise.estimated_variance(one.y) + two.noise.estimated_variance(two.y)))
    square = float(mean(d.square()))
    noise = square / max(stated, torch.finfo(torch.float32).tiny)
    if whole and one.noise.white and min(d.shape[2:]) >= 4 * BLOCK:
        means = avg_pool2d(d.double(), BLOCK)
        expected = square / BLOCK**2
        return Change(float(means.square().mean()) - expected, expected * math.sqrt(2 / means.numel()), noise)
    count = float(two.operator.project(one.operator.project(torch.ones_like(d))).sum())
    return Change(square - stated, stated * math.sqrt(2 / count), noise)


def contradiction(
    change: Change, error: float, x_1: Tensor, x_2: Tensor, one: Measurement, two: Measurement, whole: bool
) -> str | None:
    """Return in words why two measurements are no exposures of one scene, with the statistic; None where they are.

    error: of the estimate, which the change would shift. x_1, x_2: their estimates (1, *image).
    """
    if change.noise < SAME:
        return f"shares its noise: they differ by {change.noise:.2g} of what two exposures must"
    z = change.size / max(change.se, 1e-30)
    seen = _along((x_1 + x_2) / 2, two.y - one.y) if whole else None
    differs = z >= CLEAR and change.size >= TELLING * error
    if not differs and (seen is None or not seen.moved or seen.size < TELLING * error):
        return None
    by = f"it differs by {change.size:.2g} beyond noise, {z:.0f} standard errors, and the error is {error:.2g}"
    if x_1.ndim != 4:
        return f"does not show the same scene ({by})"
    alike, best, shift = _correlations(x_1, x_2)
    if any(shift) and best > max(alike + BETTER, ALIKE):
        return f"is shifted by {shift[0]} rows and {shift[1]} columns ({by})"
    if alike < ALIKE:
        return f"does not show the same scene: the estimates' correlation is {alike:.2f} ({by})"
    if seen is not None and seen.moved:
        return f"is shifted by {seen.down:.2f} rows and {seen.across:.2f} columns, known to {seen.se:.2f} ({by})"
    if seen is not None and abs(seen.brighter) > CLEAR * seen.brighter_se:
        return f"is {1 + seen.brighter:.3f} times as bright ({by})"
    return f"shows something else that moved or changed ({by})"


class Along(NamedTuple):
    """A shift in rows and columns and its standard error; a share of brightness, and its; what they differ by."""

    down: float
    across: float
    se: float
    brighter: float
    brighter_se: float
    size: float

    @property
    def moved(self) -> bool:
        return math.hypot(self.down, self.across) > CLEAR * self.se


def _both(one: Measurement, two: Measurement) -> Callable[[Tensor], Tensor]:
    """Return what takes the mean (B,) over the entries that both measured."""
    mask = two.operator.measured
    return (one.operator if mask is None else one.operator.hide(mask)).mean


def _correlations(x_1: Tensor, x_2: Tensor) -> tuple[float, float, tuple[int, int]]:
    """Return the correlation of images (1, C, H, W), that after the best whole shift of the second, and the shift."""
    a, b = (x[0].double().cpu() for x in (x_1, x_2))
    a, b = (x - x.mean((1, 2), keepdim=True) for x in (a, b))
    height, width = a.shape[1:]
    cross = torch.fft.irfft2((torch.fft.rfft2(a).conj() * torch.fft.rfft2(b)).sum(0), s=(height, width))
    size = float(a.norm() * b.norm()) or 1.0
    down, across = divmod(int(cross.argmax()), width)
    shift = ((down + height // 2) % height - height // 2, (across + width // 2) % width - width // 2)
    return float(cross[0, 0]) / size, float(cross.max()) / size, shift


def _along(x: Tensor, d: Tensor) -> Along:
    """Return what of d (1, C, H, W) lies along x's gradients and along x: x seen at p - s is x - s grad x."""
    x = x.double().cpu()
    down, across = torch.gradient(x, dim=(2, 3))
    columns = torch.stack([part.flatten() for part in (-down, -across, x, torch.ones_like(x))], 1)
    target = d.double().cpu().flatten()
    inverse = torch.linalg.pinv(columns.T @ columns, hermitian=True)
    fitted = inverse @ (columns.T @ target)
    found = columns @ fitted
    se = (inverse.diagonal().clamp_min(0) * (target - found).square().mean()).sqrt().clamp_min(1e-30).tolist()
    step, aside, share = fitted[:3].tolist()
    return Along(step, aside, max(se[:2]), share, se[2], float(found.square().mean()))
