r"""The distance between the distributions of two sets of features: do reconstructions look like clean images?

Fit a Gaussian to each set of features; the squared Frechet (2-Wasserstein) distance between N(mu_a, C_a) and
N(mu_b, C_b) is

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^{1/2}),      tr (C_a C_b)^{1/2} = |C_a^{1/2} C_b^{1/2}|_*,

the sum of the singular values of the product of the two symmetric roots. Unlike the error against a reference it needs
no pairs of images, and is large for the mean of all that is possible, which is too smooth to be an image.

Features are first standardised by the mean and deviation of the reference set: else the feature of largest unit would
decide. Hence the distance is not symmetric: the reference comes first. It is in squared deviations of the
reference's features: of d features, a shift of each by one deviation is d.

Sources: D. Dowson, B. Landau, 1982, https://doi.org/10.1016/0047-259X(82)90077-X; on features of images: M. Heusel et
al. 2017, https://arxiv.org/abs/1706.08500 (FID, with a network's features; these figures are not comparable with FIDs).

Limits. Two finite samples of one distribution are at a distance above zero, which falls like 1 / N: compare distances
at equal numbers of patches only, and beside the distance of another clean set. Images of other scenes are farther than
a light distortion of the same ones: compare methods on the same scenes.
"""

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["frechet_distance"]


@torch.no_grad()
def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """The squared Frechet distance of features_b (M, d) from the reference features_a (N, d), at least 0.

    Features of any unit, as `features` gives them. One that does not vary in the reference keeps its unit.
    Raises UnveilError for another shape, N or M < d + 1, NaN or infinite values.
    """
    a, b = _checked(features_a, "features_a"), _checked(features_b, "features_b")
    if a.shape[1] != b.shape[1]:
        raise UnveilError(
            f"features_a has {a.shape[1]} features and features_b {b.shape[1]}: use images of as many channels"
        )
    mean, deviation = a.mean(0), a.std(0)
    varies = deviation > 1e-9 * mean.abs()  # below is rounding
    deviation = torch.where(varies, deviation, torch.ones_like(deviation))
    a, b = (a - mean) / deviation, (b - mean) / deviation
    d = a.shape[1]
    cov_a, cov_b = (v.T.cov().reshape(d, d) for v in (a, b))  # of one feature it has no axes
    cross = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b)).sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(0.0, float(distance))


def _root(cov: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix (d, d)."""
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _checked(v: Tensor, name: str) -> Tensor:
    if v.ndim != 2 or v.is_complex():
        raise UnveilError(f"{name} has shape {tuple(v.shape)}, {v.dtype}: pass real features (N, d)")
    n, d = v.shape
    if n < d + 1:
        raise UnveilError(f"{name} has {n} patches of {d} features: pass {d + 1} or more, from more or larger images")
    if not bool(v.isfinite().all()):
        raise UnveilError(f"{name} has NaN or infinite values: leave out the images they come from")
    return v.to("cpu", torch.float64)
