"""What contradicts the stated noise in blocks that hold little but noise (`unveil.checks.quiet`), a line each.

All that is known of the noise family is the variance that it states, and draws of it. Under the right model, each
figure with its standard error s:

    level       r of HIGH frequencies, all images         1
    brightness  r within bins of the blocks' mean         1 in each of up to BINS
    white       log of r of MID over r of HIGH            0; noise blurred by .7 pixels: log 4
    stripes     log of r down over r across               0
    drift       change of log r from first to last image  0
    skewness    of fine detail, less that of draws        0

A figure contradicts the model where it is more than Z of its errors AND more than an effect that matters from its
value: a variance 20% off, which is sigma 10% off. Z keeps some 20 figures together far below 5% where errors are
Gaussian; the rest is for images, which are not. Structure makes r too large and never too small, and is stronger in MID
than in HIGH, by e = r_mid - r_high - s: FINE e, what grass has of it in HIGH, is taken off r, and counts as an error,
before r passes for too large.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch

from unveil.checks.quiet import ACROSS, DOWN, Blocks, Ratio, bands_apart, block_basis, ratio
from unveil.noise import Noise
from unveil.noise.estimate.blocks import HIGH, MID

__all__ = ["FEWEST", "FEWEST_IMAGES", "QUIET", "STRONG", "WEAK", "misfits", "too_weak"]

Z = 4.5
QUIET, QUIET_IN_BIN, QUIET_IN_IMAGE, FEWEST = 0.1, 0.15, 0.15, 20
"""The share of the blocks that is looked at, of all, of a bin and of an image, and their least number."""
BINS = 6
FINE = 3.0
"""The structure in HIGH, over how much stronger it is in MID."""
WEAK, STRONG, STRONG_IN_BIN = 0.83, 1.2, 1.35
"""r below which noise is weaker than stated, and above which it is stronger."""
ALIKE = 1.35
"""The largest over the smallest r of all bins up to which they say no more than one level does."""
BLURRED, SHARPENED, STRIPED, DRIFT, SKEWED = math.log(2), -math.log(1.35), math.log(1.6), math.log(1.2), 0.2
FEWEST_IMAGES = 6
"""For a drift, for stripes and for outliers: one photograph may have glints, and edges that all run one way."""


def misfits(blocks: Blocks, drawn: Blocks, noise: Noise, found: dict[str, Any]) -> Iterator[str]:
    """Return a line for each thing in which the noise of the blocks is not that of blocks drawn at the same places."""
    order = blocks.order(QUIET, FEWEST)
    quiet = blocks.at(order)
    level = ratio(quiet, HIGH)
    found["level"] = level
    yield from _spectrum(quiet, blocks, found)
    yield from _drift(blocks, found)
    yield from _brightness(blocks, noise, found)
    yield from _level(quiet, level)
    yield from _skewness(quiet, drawn.at(order), found)


def _spectrum(quiet: Blocks, blocks: Blocks, found: dict[str, Any]) -> Iterator[str]:
    white, stripes = bands_apart(quiet, MID, HIGH), bands_apart(quiet, DOWN, ACROSS)
    found["white"], found["stripes"] = white, stripes
    if _beyond(white, 0, SHARPENED, BLURRED):
        times = math.exp(abs(white.value))
        how = "stronger" if white.value > 0 else "weaker"
        yield (
            f"the noise is not white: {times:.2g} times {how} at middle frequencies than at the highest, as after a "
            "detector's blur, resampling, demosaicing or compression; use raw data, or noise.kernel=estimate"
        )
    several = len(blocks.image.unique()) >= FEWEST_IMAGES
    if several and _beyond(stripes, 0, -STRIPED, STRIPED):
        way = "from row to row" if stripes.value > 0 else "from column to column"
        yield (
            f"the noise is not alike in both directions: {math.exp(abs(stripes.value)):.2g} times stronger {way}; "
            "use raw data, or take the detector's stripes off first"
        )


def _drift(blocks: Blocks, found: dict[str, Any]) -> Iterator[str]:
    rows = [blocks.at((blocks.image == i).nonzero()[:, 0]) for i in blocks.image.unique()]
    quiet = [row.quietest(QUIET_IN_IMAGE, FEWEST) for row in rows]
    ratios, structure = [ratio(row, HIGH) for row in quiet], [excess(row) for row in quiet]
    if len(ratios) < FEWEST_IMAGES or not all(r.value > e for r, e in zip(ratios, structure)):
        return
    change = _trend([Ratio(math.log(r.value - e), math.hypot(r.error, e) / r.value) for r, e in zip(ratios, structure)])
    found["drift"] = change
    if _beyond(change, 0, -DRIFT, DRIFT):
        yield (
            f"the noise's variance changes over the data, by {math.exp(change.value):.2g} times from the first image "
            "to the last: one noise does not hold for all; keep data of one gain and exposure in a folder"
        )


def _brightness(blocks: Blocks, noise: Noise, found: dict[str, Any]) -> Iterator[str]:
    bins = []
    ends = blocks.mean.sort().values[[int(p * (len(blocks.mean) - 1)) for p in (0.005, 0.995)]]
    edges = torch.linspace(float(ends[0]), float(ends[1]), BINS + 1, dtype=blocks.mean.dtype)
    for k in range(BINS):
        inside = blocks.at(((blocks.mean >= edges[k]) & (blocks.mean <= edges[k + 1])).nonzero()[:, 0])
        if len(inside.mean) >= FEWEST:
            quiet = inside.quietest(QUIET_IN_BIN, FEWEST)
            bins.append((float(quiet.mean.mean()), positive(ratio(quiet, HIGH)), excess(quiet)))
    found["brightness"] = [[mean, *r] for mean, r, _ in bins]
    off = [(mean, r.value) for mean, r, e in bins if too_weak(r) or too_strong(r, e, STRONG_IN_BIN)]
    everywhere = [r for _, r in off] if len(off) == len(bins) else []
    alike = bool(everywhere) and max(everywhere) < ALIKE * min(everywhere)
    if len(bins) > 1 and off and not alike:
        mean, worst = max(off, key=lambda one: abs(math.log(max(one[1], 1e-9))))
        dark, bright = bins[0], bins[-1]
        yield (
            f"the noise at brightness {mean:.3g} has {worst:.2g} times the variance that is stated ({noise}); "
            f"{dark[1].value:.2g} times at {dark[0]:.3g} and {bright[1].value:.2g} at {bright[0]:.3g}: check "
            "noise.kind and its parameters"
        )


def _level(quiet: Blocks, level: Ratio) -> Iterator[str]:
    if too_weak(level) or too_strong(level, excess(quiet), STRONG):
        yield (
            f"the noise has {math.sqrt(max(level.value, 0)):.2g} times the deviation that is stated, where images hold "
            "nothing else: check the noise's parameters and the scale they were stated on"
        )


def _trend(values: list[Ratio]) -> Ratio:
    """Return the change of a straight line through the values, first to last, its error from their scatter about it."""
    y, error = torch.tensor(values, dtype=torch.double).T
    w = 1 / error.square()
    x = torch.linspace(-0.5, 0.5, len(y), dtype=torch.double)
    x = x - (w * x).sum() / w.sum()
    spread = (w * x.square()).sum()
    slope = (w * x * y).sum() / spread
    misfit = (w * (y - (w * y).sum() / w.sum() - slope * x).square()).sum() / (len(y) - 2)
    return Ratio(float(slope), float((misfit.clamp_min(1) / spread).sqrt()))


def _skewness(quiet: Blocks, drawn: Blocks, found: dict[str, Any]) -> Iterator[str]:
    here, there = _third(quiet), _third(drawn)
    apart = Ratio(here.value - there.value, math.hypot(here.error, there.error))
    found["skewness"] = apart
    if _beyond(apart, 0, -SKEWED, SKEWED):
        yield (
            f"the noise is not distributed as stated: its skewness is {here.value:.2g} in fine detail, and "
            f"{there.value:.2g} is expected; check noise.kind"
        )


def _third(blocks: Blocks) -> Ratio:
    """Return the skewness of what MID and HIGH frequencies make of each block, in units of the stated deviation."""
    kept = torch.where((MID | HIGH)[:, None], blocks.z, 0) / blocks.stated.sqrt()
    fine = torch.einsum("ki,kn->in", block_basis(), kept)
    scale = fine.square().mean() ** 1.5
    third = fine.pow(3).mean(0)
    if not scale > 0:
        return Ratio(math.nan, math.inf)
    return Ratio(float(third.mean() / scale), float(third.std() / scale) / math.sqrt(len(third)))


def excess(blocks: Blocks) -> float:
    """Return how much of r is structure."""
    mid, high = ratio(blocks, MID), ratio(blocks, HIGH)
    return max(0.0, mid.value - high.value - math.hypot(mid.error, high.error))


def positive(r: Ratio) -> Ratio:
    """Return r, which chance may make negative where drawn noise was taken off, as what it is then: near 0."""
    return Ratio(max(r.value, 0.0), r.error)


def too_weak(r: Ratio) -> bool:
    return r.value < WEAK and 1 - r.value > Z * r.error


def too_strong(r: Ratio, structure: float, most: float) -> bool:
    structure *= FINE
    rest = r.value - structure
    return rest > most and rest - 1 > Z * math.hypot(r.error, structure)


def _beyond(figure: Ratio, expected: float, low: float, high: float) -> bool:
    return not low < figure.value < high and abs(figure.value - expected) > Z * figure.error
