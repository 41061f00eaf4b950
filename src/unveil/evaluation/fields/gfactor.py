"""What does an accelerated scan cost in noise? Maps of signal to noise and of the g-factor.

    SNR = |x_hat| / s,      g = s / (s_full R^(1/2)),      s^2: the variance of the real part of a pixel of x_hat

over the noise of the scan (Robson et al. 2008, https://doi.org/10.1002/mrm.21728; g: Pruessmann et al. 1999,
https://pubmed.ncbi.nlm.nih.gov/10542355/). s is seen by pseudo-replicas (`unveil.evaluation.replicas`), of any
estimator; s_full is that of the image of least squares of all of k-space, which is known in closed form
(`Operator.full_scan`): no replica of a scan that was not made is needed. R is the share of k-space that was measured.

1 is what the shorter scan costs by its length alone. An inverse of the coils' equations has g >= 1; an estimate that
knows images takes noise off, and may have less: it pays by an error that is no noise, of which g says nothing.

A pixel's s^2 is a mean over probes and over the pixels about it. How far it is off is seen by halves of the probes: the
mean square of half their difference. That of the mean over the object is from sums over blocks, by the same halves.
Over 60 draws of images of 16 x 16 pixels, 4 coils, R = 2, the stated error of a pixel was .95 of the deviation, and
that of the mean .80 of it for least squares, whose aliased pixels err alike, and 1.16 for ridge regression.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.evaluation.by_block import cut
from unveil.evaluation.fields.figure import Figure, Found, Map, Subject
from unveil.evaluation.replicas import local, variances

__all__ = ["GFactor", "Scan"]

OBJECT = 0.1
"""Of the brightness that 1% of the pixels exceed: what is darker is no part of the object."""


@dataclass(frozen=True)
class Scan:
    """One image: snr and g (H, W), object (H, W) boolean; the rest over the object.

    acceleration: R. squares, off: the sums over blocks of g^2, and of half of its difference between halves of the
    probes. pixel: the relative standard error of one pixel of the maps.
    """

    snr: Tensor
    g: Tensor
    object: Tensor
    acceleration: float
    squares: Tensor
    off: Tensor
    pixel: float


class GFactor(Figure[Scan]):
    name = "gfactor"
    maps = (
        Map("snr", "Signal to noise", "|x̂| over the standard deviation of its real part, were the scan repeated"),
        Map("gfactor", "g-factor", "noise over that of the full scan, over √R; 1: no more than the shorter scan costs"),
    )

    def look(self, subject: Subject) -> Scan | None:
        full, moved = subject.m.operator.full_scan(), variances(subject.risk)
        level = subject.m.noise.fixed_level if subject.m.noise.white else None
        if full is None or moved is None or level is None:
            return None
        weight, rate = (part[0].double().cpu() for part in full)
        known = (weight > 0)[0]
        stated = torch.where(known, 2 * level**2 * rate / weight[0].clamp_min(1e-30), torch.inf)  # of both parts
        halves = local(moved.double())
        size = torch.linalg.vector_norm(subject.x_hat[0].double().cpu(), dim=0)
        seen = known & (size > OBJECT * torch.quantile(size.flatten()[:: max(1, size.numel() // 10**6)], 0.99))
        if not bool(seen.any()):
            return None
        deviation = (halves.mean(0) / 2).sqrt()
        ratio = moved.double() / stated
        pixel = (halves[0] - halves[1])[seen].square().mean().sqrt() / halves.sum(0)[seen].mean() / 2
        squares, off = (cut((part * seen)[None]).sum(1) for part in (ratio.mean(0), (ratio[0] - ratio[1]) / 2))
        return Scan(
            torch.where(deviation > 0, size / deviation.clamp_min(1e-30), 0.0),
            (halves.mean(0) / stated).sqrt(),
            seen,
            float(rate),
            squares,
            off,
            float(pixel),
        )

    def pictures(self, kept: Scan) -> dict[str, Tensor]:
        return {"snr": kept.snr[None].float(), "gfactor": kept.g[None].float()}

    def found(self, kept: Mapping[str, Scan]) -> Found | None:
        if not kept:
            return None
        every = list(kept.values())
        count = sum(int(one.object.sum()) for one in every)
        square = float(torch.cat([one.squares for one in every]).sum()) / count
        off = float(torch.cat([one.off for one in every]).square().sum().sqrt()) / count
        g = math.sqrt(max(square, 0.0))
        se = off / (2 * g) if g > 0 else math.nan
        values = torch.cat([one.g[one.object] for one in every])
        snr = torch.cat([one.snr[one.object] for one in every])
        rate = sum(one.acceleration for one in every) / len(every)
        pixel = max(one.pixel for one in every)
        worst, typical = _quantile(values, 0.95), _quantile(snr, 0.5)
        return Found(
            "Noise of the accelerated scan",
            "told",
            f"At R = {rate:.2f} the g-factor is {g:.3f} ± {se:.3f} in the object, root mean square, and in 95% of its "
            f"pixels below {worst:.2f}; the median signal to noise is {typical:.1f}.",
            f"By pseudo-replicas; a pixel of the maps is known to {pixel:.0%}. 1 is what a scan of a share 1 / R costs "
            f"by its length alone; less is noise that the network takes off, and says nothing of what it makes up.",
            {
                "acceleration": rate, "g": g, "g_se": se, "g_95": worst, "snr_median": typical, "pixel_se": pixel,
                "images": {
                    name: {"g": math.sqrt(max(float(one.squares.sum()) / int(one.object.sum()), 0.0)),
                           "snr_median": _quantile(one.snr[one.object], 0.5), "acceleration": one.acceleration}
                    for name, one in kept.items()
                },
            },
        )  # fmt: skip


def _quantile(values: Tensor, share: float) -> float:
    return float(torch.quantile(values[:: max(1, len(values) // 10**6)], share))
