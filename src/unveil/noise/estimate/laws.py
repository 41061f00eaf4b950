"""Does one law of the noise's variance serve all images, or has each a line of its own?

The bins (mean, variance, error) of the photon-transfer curves of the images, each by itself, are fitted by least
squares with one law for all, and with a line for each image. For laws of p1 and p parameters and N bins

    F = ((chi1^2 - chi^2) / (p - p1)) / (chi^2 / (N - p)),     about 1 where the simpler one is right,

(R. Fisher's ratio) says by how much lines are better than their parameters are worth, whatever the scale of the stated
errors; SYSTEMATIC of the variance counts as an error too, for structure. Images have gains of their own where lines
are better than the common law by APART, and than a level for each image, which has no gain, by SLOPING.

In sets of four photographs (14 of each noise, of the first 60 of BSD400) APART is 23 at most where one gain serves all,
at 1000 photons, of which texture is taken for noise, and from 63 on where gains differ within a factor of 2 or 6;
where speckle serves all it is below 0. SLOPING is 6 at most of Gaussian noise, and from 20 on of counts.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unveil.noise.estimate.line import SYSTEMATIC, TransferCurve

__all__ = ["LAWS", "Law", "OwnLaw", "own_law"]

APART, SLOPING = 35.0, 10.0

Law = Callable[[Tensor], tuple[Tensor, ...]]
"""m (K,) -> what the variance is a sum of, each (K,)."""

LAWS: dict[str, Law] = {
    "gaussian": lambda m: (torch.ones_like(m),),
    "poisson": lambda m: (m,),
    "poisson-gaussian": lambda m: (torch.ones_like(m), m),
    "gamma": lambda m: (m.square(),),
}
"""How the variance depends on the mean, by family."""


class OwnLaw(NamedTuple):
    """Hold F of a line for each image over the common law, and over a level for each image."""

    apart: float
    sloping: float

    @property
    def own(self) -> bool:
        """Return whether each image has a line, and that a gain, of its own."""
        return self.apart > APART and self.sloping > SLOPING


def own_law(curves: Sequence[TransferCurve], common: Law) -> OwnLaw:
    """Return how much better a line for each of several images describes their curves than `common` does.

    Curves of fewer than three bins say nothing; 0 of fewer than two images.
    """
    curves = [curve for curve in curves if len(curve.mean) > 2]
    line, level = LAWS["poisson-gaussian"], LAWS["gaussian"]
    n, bins = len(curves), sum(len(curve.mean) for curve in curves)
    if n < 2 or bins <= 2 * n:
        return OwnLaw(0.0, 0.0)
    best, shared, flat = (
        _misfit(curves, law, together) for law, together in ((line, False), (common, True), (level, False))
    )
    scale = best / (bins - 2 * n)
    count = len(common(curves[0].mean))
    return OwnLaw((shared - best) / (2 * n - count) / scale, (flat - best) / n / scale)


def _misfit(curves: Sequence[TransferCurve], law: Law, together: bool) -> float:
    """Return chi^2 of the law, fitted to all curves together, or to each."""
    if not together:
        return sum(_misfit([curve], law, together=True) for curve in curves)
    mean, variance, error = (torch.cat(part) for part in zip(*curves))
    error = (error.square() + (SYSTEMATIC * variance).square()).sqrt().clamp_min(1e-6 * float(variance.abs().max()))
    columns, seen = torch.stack(law(mean), 1) / error[:, None], variance / error
    columns = columns / columns.norm(dim=0)
    weights = torch.linalg.lstsq(columns, seen[:, None]).solution
    return float((seen - (columns @ weights)[:, 0]).square().sum())
