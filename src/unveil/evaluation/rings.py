"""Fourier ring correlation: down to which detail do two images say the same?

    FRC(k) = Re sum_k F_1 conj F_2 / (sum_k |F_1|^2 sum_k |F_2|^2)^(1/2),      over the ring of frequencies about k

(Saxton and Baumeister 1982, https://doi.org/10.1111/j.1365-2818.1982.tb00405.x). The two are halves of the exposure,
y_1/2 and y_rest, which are independent given x, so that one image is enough. As they are, they tell down to where there
is more signal than noise. Processed, f(y_1/2) and f(y_rest), each by itself, they tell down to where the network does
not follow the noise: but what one network adds to both, right or wrong, correlates too. A detail that it makes up from
its training is in both. So the estimate from one half is also compared with the other half, which it never saw, raw:

    FRC with the truth = Re sum F_f conj F_rest / (sum |F_f|^2 sum Re F_1/2 conj F_rest)^(1/2)

has in its sums the means that x itself would give in the place of the raw half, and what is made up lowers it. (ours)

Thresholds: 1/7 of two halves is a correlation of 1/2 of all with the truth (Rosenthal and Henderson 2003,
https://doi.org/10.1016/j.jmb.2003.07.013), so that with the truth it is 1/2; half a bit an entry (van Heel and Schatz
2005, https://doi.org/10.1016/j.jsb.2005.05.009) takes account of how many entries a ring has. Images are tapered by
Hann's window, which leaves a ring of n entries as many independent ones as n / 2.25, and half of them are conjugates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unveil.evaluation.ring_errors import truth_error
from unveil.measurement import Estimator, Measurement

__all__ = ["HALF", "SEVENTH", "Rings", "halves", "of_pair", "rings_record", "with_truth"]

SEVENTH, HALF = 1 / 7, 0.5
MOST = 64
"""Rings."""
LEAST = 32
"""Pixels, the sides of an image that has rings."""
TAPER = 1.5
"""How many times fewer independent entries Hann's window leaves along an axis."""
NEIGHBOURS = 1
"""Rings on either side that are looked at together for where a curve falls below its threshold."""


@dataclass(frozen=True)
class Rings:
    """Sums over rings, (rings,) each in float64, which add over images.

    count: entries. raw, halves: [cross, power, power] of y_1/2 and y_rest, and of the estimates from them. to_truth:
    [cross, power of the estimates, power of x]. reference: of the estimate from y and x, or None.
    """

    count: Tensor
    raw: Tensor
    halves: Tensor
    to_truth: Tensor
    reference: Tensor | None = None

    def __add__(self, other: "Rings") -> "Rings":
        both = None if self.reference is None or other.reference is None else self.reference + other.reference
        sums = (self.count + other.count, self.raw + other.raw, self.halves + other.halves)
        return Rings(*sums, self.to_truth + other.to_truth, both)


def ring_number(smallest: int) -> int:
    """Return how many rings images have, the smallest side of which is of so many pixels; 0: too few."""
    return 0 if smallest < LEAST else min(MOST, smallest // 2)


@torch.no_grad()
def halves(
    f: Estimator,
    m: Measurement,
    generator: torch.Generator,
    rings: int,
    x_hat: Tensor | None = None,
    x: Tensor | None = None,
) -> Rings:
    """Return the sums of a batch of images m (B, C, H, W), by two passes of f.

    rings: into how many frequencies up to 1/2 are cut. x_hat, x: f(m) and the reference (B, C, H, W), if there is one.
    """
    one, two = m.recorrupt(torch.full((len(m),), 0.5, device=m.y.device), generator)
    reference = None if x is None or x_hat is None else with_truth(x_hat, x, rings)
    return replace(of_pair((one.y, two.y), (f(one), f(two)), rings), reference=reference)


def of_pair(
    raw: tuple[Tensor, Tensor] | None,
    seen: tuple[Tensor, Tensor],
    rings: int,
    sides: Sequence[float] = (1.0, 1.0),
) -> Rings:
    """Return the sums of two exposures (B, C, H, W), and of the estimates from each.

    raw: None where the exposures are no images: their sums are 0, and correlations unknown. sides: of a pixel along the
    last axes, over its side along a row; three of volumes (B, C, D, H, W), whose rings are shells.
    """
    number, (a, b) = _numbers(seen[0], rings, sides), (_transform(part, len(sides)) for part in seen)
    power = [_sum(number, rings, part.abs().square()) for part in (a, b)]
    halves = torch.stack([_sum(number, rings, (a * b.conj()).real), *power])
    count = _sum(number, rings, torch.ones_like(a.real))
    if raw is None:
        return Rings(count, torch.zeros_like(halves), halves, torch.zeros_like(halves))
    c, d = (_transform(part, len(sides)) for part in raw)
    cross = _sum(number, rings, (c * d.conj()).real)
    measured = torch.stack([cross, *(_sum(number, rings, part.abs().square()) for part in (c, d))])
    other = _sum(number, rings, ((a * d.conj()).real + (b * c.conj()).real) / 2)
    return Rings(count, measured, halves, torch.stack([other, (power[0] + power[1]) / 2, cross]))


def with_truth(x_hat: Tensor, x: Tensor, rings: int) -> Tensor:
    """Return the sums [cross, power, power] (3, rings) of images and their truth (B, C, H, W)."""
    a, b = _transform(x_hat), _transform(x)
    parts = [(a * b.conj()).real, a.abs().square(), b.abs().square()]
    return torch.stack([_sum(_numbers(x, rings), rings, part) for part in parts])


def _transform(y: Tensor, axes: int = 2) -> Tensor:
    y, dim = y.double(), tuple(range(-axes, 0))
    window = _outer([torch.hann_window(side, False, dtype=y.dtype, device=y.device) for side in y.shape[-axes:]])
    mean = (y * window).sum(dim, keepdim=True) / window.sum()
    return torch.fft.fftn((y - mean) * window, dim=dim)


def _outer(parts: Sequence[Tensor]) -> Tensor:
    found = parts[0]
    for part in parts[1:]:
        found = found[..., None] * part
    return found


def _numbers(y: Tensor, rings: int, sides: Sequence[float] = (1.0, 1.0)) -> Tensor:
    """Return the number (H, W) of the ring that each frequency is in; `rings` of those beyond 1/2, and of 0.

    sides: as in `of_pair`; of a volume (D, H, W).
    """
    shape = y.shape[-len(sides) :]
    parts = [torch.fft.fftfreq(n, side, dtype=torch.double, device=y.device) for n, side in zip(shape, sides)]
    k = torch.stack(torch.meshgrid(*parts, indexing="ij")).square().sum(0).sqrt()
    number = (k * 2 * rings - 1e-9).floor().long()
    return torch.where((k > 0) & (number < rings), number, rings)


def _sum(number: Tensor, rings: int, values: Tensor) -> Tensor:
    total = values.new_zeros(rings + 1, dtype=torch.double)
    total.index_add_(0, number.flatten(), values.reshape(-1, number.numel()).sum(0))
    return total[:rings].cpu()


def rings_record(sums: Rings, axes: int = 2) -> dict[str, Any]:
    """Return the curves and where they fall below their thresholds, in pixels a period, for JSON; nan: never.

    Of a curve with the truth nan is where it is not known, and to_truth_se its standard error (`ring_errors`).
    axes: 3 of the shells of volumes, which are tapered along three.
    """
    n = len(sums.count)
    frequency = (torch.arange(n, dtype=torch.double) + 0.5) / (2 * n)
    entries = (sums.count / 2 / TAPER**axes).clamp_min(1)
    root = entries.sqrt()
    bit = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    seventh, half = torch.full_like(bit, SEVENTH), torch.full_like(bit, HALF)
    pairs = {"raw": sums.raw, "halves": sums.halves, "to_truth": sums.to_truth, "reference": sums.reference}
    curves = {name: None if part is None else _curve(part) for name, part in pairs.items()}
    se = truth_error(entries, sums.raw, sums.to_truth, _curve(sums.to_truth))
    curves["to_truth"] = torch.where(se.isnan(), torch.nan, _curve(sums.to_truth))
    pixels = {}
    for name, threshold, key in (
        ("raw", seventh, "raw_seventh"), ("raw", bit, "raw_half_bit"), ("halves", seventh, "halves_seventh"),
        ("halves", bit, "halves_half_bit"), ("to_truth", half, "to_truth_half"), ("reference", half, "reference_half"),
    ):  # fmt: skip
        part = pairs[name]
        pixels[key] = math.nan if part is None else _falls(part, threshold, frequency)
    lists = {name: None if curve is None else curve.tolist() for name, curve in curves.items()}
    told = {"to_truth_se": se.tolist(), "half_bit": bit.clamp_max(1).tolist(), "pixels": pixels}
    return {"frequency": frequency.tolist(), **lists, **told}


def _curve(sums: Tensor) -> Tensor:
    """Return the correlation of sums (3, rings); nan where a power is not positive."""
    product = sums[1] * sums[2]
    known = (sums[1] > 0) & (sums[2] > 0)
    return torch.where(known, sums[0] / product.clamp_min(1e-300).sqrt(), torch.nan)


def _falls(sums: Tensor, threshold: Tensor, frequency: Tensor) -> float:
    """Return the period, in pixels, at which the curve falls below the threshold; 2 where it never does."""
    near = torch.stack([_neighbours(part) for part in sums])
    curve = torch.where(near[2] > 0, _curve(near), 0.0).nan_to_num(0.0) - threshold
    below = ((curve < 0) & (threshold < 1 - 1e-9)).nonzero()  # 1: of one entry nothing is told
    if not len(below):
        return 2.0
    k = int(below[0])
    if k == 0:
        return math.nan
    share = float(curve[k - 1] / (curve[k - 1] - curve[k]))
    return float(1 / (frequency[k - 1] + share * (frequency[k] - frequency[k - 1])))


def _neighbours(values: Tensor) -> Tensor:
    """Return the sum (rings,) of each ring with those beside it."""
    wide = torch.nn.functional.pad(values[None, None], (NEIGHBOURS, NEIGHBOURS), mode="replicate")[0, 0]
    return wide.unfold(0, 2 * NEIGHBOURS + 1, 1).sum(1)
