"""Is the error that is estimated without a reference resolved? It is what a much larger variance leaves.

    E |y - A f|^2 / m + 2 E[(y - u)^T A f] / m - v  =  E |A (f - x)|^2 / m

Where v was found in the images, it is known to a share d of itself, and the error to about d v: a network that takes
off nine tenths of the noise's deviation leaves v / 100, of which a v that is known to 2% tells nothing. d is what quiet
blocks say of the noise beside what was found (`unveil.checks.quiet`): how far their ratio is off 1, and its error.
Stated parameters are taken at their word.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from unveil.checks.look import middle
from unveil.checks.misfits import FEWEST, QUIET
from unveil.checks.quiet import Blocks, ratio, take_blocks
from unveil.dataset import Dataset
from unveil.evaluation.distortion import psnr
from unveil.evaluation.evaluate import Evaluation
from unveil.noise.estimate.blocks import HIGH

__all__ = ["Unresolved", "variance_errors"]

MOST = 0.5
"""Of the error: how uncertain it may be, some 2 dB, to be shown."""


def variance_errors(data: Dataset, each: bool) -> list[float]:
    """Return d v of every image of `data`, in squared units of y; 0 of one that is too small to tell.

    each: whether each image has parameters of its own, found in it alone; else those of all were found in all.
    """
    blocks, variances = [], []
    for i in range(len(data)):
        box, noise = middle(data.source.shape(i)), data.noise.select(torch.tensor([i]))
        blocks.append(take_blocks([data.source.read(i, box)], [noise.window(box)]))
        variances.append(float(blocks[-1].stated.mean()) if len(blocks[-1].stated) else 0.0)
    shares = [_share([one]) for one in blocks] if each else [_share(blocks)] * len(blocks)
    return [share * v for share, v in zip(shares, variances)]


def _share(parts: Sequence[Blocks]) -> float:
    """Return d, by the quietest blocks of each image."""
    quiet = [one.quietest(QUIET, FEWEST) for one in parts if len(one.mean) > 1]
    if not quiet:
        return 0.0
    mean, stated, z, image, rough = (torch.cat(field, -1) for field in zip(*(one[:5] for one in quiet)))
    r = ratio(Blocks(mean, stated, z, image, rough), HIGH)
    return math.hypot(r.value - 1, r.error)


class Unresolved:
    """Passes results on, without those figures that are not resolved, and remembers of which images.

    errors: d v of each, in the order of the results.
    """

    def __init__(self, errors: Sequence[float]) -> None:
        self.errors, self.seen = errors, 0
        self.names: list[str] = []
        self.least: list[float] = []

    def __call__(self, results: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for result, d in zip(results, self.errors):
            self.seen += 1
            found = result.metrics.psnr_estimate
            error = 0.0 if math.isnan(found) else 10 ** (-found / 10)
            if d <= MOST * error:
                yield result
                continue
            self.names.append(result.metrics.name)
            self.least.append(psnr(error + 2 * d))
            yield replace(result, metrics=replace(result.metrics, psnr_estimate=math.nan, spread_over_error=None))

    def line(self) -> str | None:
        """Return what to say of the images whose error is not resolved; None where all are."""
        if not self.names:
            return None
        others = " and others" if len(self.names) > 1 else ""
        return (
            f"of {len(self.names)} of {self.seen} images ({self.names[0]}{others}) the error cannot be told without a "
            "reference: it is less than what is known of the noise's variance, which was found in the images; their "
            f"PSNR is above {min(self.least):.1f} dB; state noise.* as calibration frames tell it (unveil estimate "
            "--darks --flats)"
        )
