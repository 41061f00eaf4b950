"""The error of an estimate without a reference, and the standard error of that, on one measurement.

    S = |y - h|^2 / m + 2 p / m - sum v(y) / m,      E p = E (y - u)^T h,      h = A f(y),  u = A x

has the mean of the error |h - u|^2 / m (`unveil.losses.Stein`). How far is it from the error of this very image? For
Gaussian noise of covariance C and J = dh / dy, the second order of Stein's identity says (Bellec and Zhang 2021,
https://doi.org/10.1214/20-AOS2005: "SURE for SURE")

    E (m S - |h - u|^2)^2 = E [4 r^T C r - 2 tr C^2 + 4 tr C J C J],      r = y - h

The summands of S vary over the image much more than that, for errors do, and their scatter would be too wide. For
counts and speckle it holds to the same order with C = v(u): there too (y_i - u_i)^2 - v(y_i) is of mean 0 and
uncorrelated with y_i - u_i (Morris 1982, https://doi.org/10.1214/aos/1176345690), but its variance k_i is not 2 v_i^2,
and of read-out counts it is not quite so. So a measurement of h is drawn, and

    (1 - 2 sum v_i J_ii / sum v_i)^2 (sum k_i - 2 sum v_i^2)

added. tr C J C J is bounded by tr C J C J^T, equal where J is symmetric, as that of a posterior mean is: probes give it
besides p. p is a mean over probes, whose own scatter is added: of images that of large blocks, which are many, and
nearly independent of one another. v is taken at h. Probes are shorter than those of losses, which must scatter less.

Were h = y, a probe e with weights w would tell w e, of mean v. Of Gaussian noise w e is v; of counts and speckle e is
skewed, the more the shorter it is, and w e scatters by many times v. So

    w (h(y + e) - h(y)) - c (w e - v)

is taken, a control variate: of the same mean, whatever c the other probes say is best. It leaves a fifth of the scatter
of S where h keeps most of y, and seven eighths of a network's in speckle of 4 looks.

What found parameters of the noise leave uncertain is no part of it: see `unveil.evaluation.resolution`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.errors import UnveilError
from unveil.measurement import Estimator, Measurement
from unveil.shapes import expand

__all__ = ["BLOCK", "Risk", "estimate_risk"]

BLOCK = 16
"""Pixels, the side of the blocks whose sums are compared: see `unveil.evaluation.flux`."""


SHARE = 0.005
"""What a probe adds to the variance of every entry, at most (`Noise.probe`); that of losses is up to .02.

It makes the error of photographs .03 to .09 dB too large in speckle of 16 and 4 looks and in counts of 2 and 10, where
.02 makes it .20 to .26 dB (speckle); .00125 makes it half of that or less, with one and a half times the scatter
(benchmarks/probe_share.py)."""

ROUNDING = 1e-8
"""Of the mean square of v: less, and w e is v."""
PARTS = 4
"""Into how many parts the sides are cut, to see how probes scatter."""


DRAWS = 8
"""Of a measurement of h, whose squares scatter much themselves."""


@dataclass(frozen=True)
class Risk:
    """What is known of the error of A f(y), in squared units of y.

    error: (B,), an unbiased estimate of |A (f(y) - x)|^2 / m, which may be negative. se: (B,), its standard error about
    the error of this image. shared: (B, C, h, w), an estimate of the covariance of the noise with h in the mean over
    each whole block of BLOCK x BLOCK pixels; None of smaller images, and of measurements that are none. products: like
    y, an estimate of the mean of (y - u) h, entry by entry. moved: (2, B, *image), the variance of the estimate over
    the noise, to first order, in squared units of x, by either half of the probes: see `unveil.evaluation.replicas`.
    """

    error: Tensor
    se: Tensor
    shared: Tensor | None = None
    products: Tensor | None = None
    moved: Tensor | None = None


@torch.no_grad()
def estimate_risk(
    f: Estimator, m: Measurement, generator: torch.Generator, probes: int = 8, x_hat: Tensor | None = None
) -> Risk:
    """Return the error of f(m) without a reference, with its standard error.

    probes: passes of f, at least 2. x_hat: f(m) (B, *image), where it is known already; else one more.
    Raises UnveilError for fewer probes.
    """
    if probes < 2:
        raise UnveilError(f"probes is {probes}: how they scatter is seen from 2 on; about 8 will do")
    x_hat = f(m) if x_hat is None else x_hat
    h = m.predict(x_hat)
    mean, v = m.operator.mean, m.noise.estimated_variance(m.y)
    count = m.operator.project(torch.ones_like(m.y)).flatten(1).sum(1)
    bends, shared, slopes, sums, parts = [], [], [], [], []
    entries, moved = torch.zeros_like(h).repeat(2, *[1] * h.ndim), torch.zeros_like(x_hat).repeat(2, *[1] * x_hat.ndim)
    blocks = m.y.ndim == 4 and min(m.y.shape[2:]) >= BLOCK
    sides = [side // PARTS for side in m.y.shape[2:]]
    for k in range(probes):
        e, weight = m.noise.probe(m.y, mean, generator, SHARE)
        e, weight = m.operator.project(e), m.operator.project(weight)
        near = f(m.at(m.y + e))
        change = m.predict(near) - h
        both = torch.stack([weight * change, weight * e - m.operator.project(v)])  # told, and known to have the mean 0
        entries += both / probes
        sums.append(torch.stack([mean(one) for one in both]))
        slopes.append(torch.stack([mean(both[0] * both[1]), mean(both[1].square())]))
        share = mean(e.square()) / mean(v).clamp_min(torch.finfo(v.dtype).tiny)
        share = share.clamp_min(torch.finfo(v.dtype).tiny)
        bends.append(m.noise.sum_variance(change, h) / share)
        moved[k % 2] += (near - x_hat).square() / expand(share, x_hat) / len(range(k % 2, probes, 2))
        if blocks:
            parts.append(torch.stack([avg_pool2d(one, sides) for one in both]))
            shared.append(avg_pool2d(weight, BLOCK) * avg_pool2d(change, BLOCK))
    by_probe, least = torch.stack(slopes), ROUNDING * mean(v.square())
    c = _slope(by_probe.sum(0) - by_probe, least)  # (probes, B), each by the others
    p = _off(torch.stack(sums, 1), c)
    error = m.mean_square(m.y - h) + 2 * p.mean(0) - mean(v)
    variance = _scatter(m, h, p.mean(0), torch.stack(bends).mean(0), generator) / count**2
    if blocks:
        several = _off(torch.stack(parts, 1), c).var(0).flatten(1) * (m.y[0].numel() / count[:, None]) ** 2
        probed = several.mean(1) / several.shape[1]
    else:
        probed = p.var(0)
    variance = variance + 4 * probed / probes
    common = torch.stack(shared).mean(0) if blocks else None
    return Risk(error, variance.clamp_min(0).sqrt(), common, _off(entries, _slope(by_probe.sum(0), least)), moved)


def _slope(sums: Tensor, least: Tensor) -> Tensor:
    """Return c (..., B) by sums (..., 2, B) of products and of squares; 0 where the squares are rounding alone."""
    products, squares = sums.unbind(-2)
    return torch.where(squares > least, products / squares, 0.0)


def _off(both: Tensor, c: Tensor) -> Tensor:
    """Return what was told less c times what was known (2, ..., B, *entries); c (..., B)."""
    told, known = both
    return told - c.reshape(*c.shape, *[1] * (told.ndim - c.ndim)) * known


def _scatter(m: Measurement, h: Tensor, p: Tensor, bend: Tensor, generator: torch.Generator) -> Tensor:
    """Return the variance (B,) of m S. p: (B,), of one entry. bend: tr C J C J (B,)."""
    project = m.operator.project
    total = 4 * m.noise.sum_variance(project(m.y - h), h) + 4 * bend
    if not m.noise.white:
        n = project(m.noise.sample(h, generator) - h)
        return total - 2 * m.noise.sum_variance(n, h)  # n^T C n has the mean tr C^2
    v = project(m.noise.variance(h).clamp_min(0))
    doubled = 2 * v.square().flatten(1).sum(1)
    k = torch.stack([_squares(m, h, generator) for _ in range(DRAWS)]).mean(0)
    left = (1 - 2 * p / m.operator.mean(v).clamp_min(torch.finfo(v.dtype).tiny)).square()
    return torch.maximum(total - doubled + left * (k - doubled), left * k)  # what squares leave is the least


def _squares(m: Measurement, h: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the sum of k (B,), (n^2 - v(y))^2 of a measurement y of h."""
    drawn = m.noise.sample(h, generator)
    return m.operator.project((drawn - h).square() - m.noise.estimated_variance(drawn)).square().flatten(1).sum(1)
