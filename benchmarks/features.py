r"""Texture statistics of the patches of images, by fixed filters: what `frechet_distance` compares. Nothing is learned.

For every patch: how strong is the image at each scale and orientation, and how sparse? Scales s = 0, 1, 2 are those of
a Gaussian pyramid x_0 = x, x_{s+1} = x_s smoothed by (1 4 6 4 1)/16 along both axes and taken at every other pixel.
At each scale, r_k = h_k * x_s for four orientations theta_k = 0, 45, 90, 135 degrees, h_k the third derivative along
theta_k of a Gaussian of one pixel: band-pass about a wavelength of 3.6 pixels of that scale, blind to constants and
ramps. From the patch means E,

    log (E r_k^2)^{1/2}    and    log E|r_k|

whose difference measures sparsity: log (pi / 2)^{1/2} = 0.23 for Gaussian noise, more for edges. Likewise of the finest
residual, the response to (1 -2 1)/sqrt(6) along both axes. With the patch's mean and the log of its deviation that is
2 x 13 + 2 = 28 numbers. All filters on the image itself have unit norm: white noise of level sigma has a response of
sigma at scale 0 and in the residual. Logs, so that smooth and busy patches count alike; in all of them v stands for
(v^2 + FLOOR^2)^{1/2}, so that a flat patch has finite ones.

The set is small on purpose: a fourth scale, or the difference of the two logs as a feature of its own, raised the
distance between two sets of clean images more than the distance to distorted ones.

Colour: these are features of the mean over the channels. Each difference of neighbouring channels (R - G, G - B), over
sqrt(2), adds three: its mean, the logs of its deviation and of its residual. C channels: 28 + 3 (C - 1) numbers.

Sources. Statistics of oriented band-pass responses as a description of texture: J. Portilla, E. Simoncelli, "A
parametric texture model based on joint statistics of complex wavelet coefficients", IJCV 2000,
https://doi.org/10.1023/A:1026553619983. Pyramid: P. Burt, E. Adelson, 1983,
https://doi.org/10.1109/TCOM.1983.1095851. Oriented filters from separable ones: W. Freeman, E. Adelson, 1991,
https://doi.org/10.1109/34.93808. Residual: J. Immerkaer, 1996, https://doi.org/10.1006/cviu.1996.0060. The choice of
statistics is ours; those of Portilla and Simoncelli that couple scales, orientations and places are left out.

Limits. Textures are seen, objects are not. Borders of the image are continued by their last pixel: compare images of
the same size.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, pad

from unveil.errors import UnveilError

__all__ = ["FLOOR", "features"]

FLOOR = 1e-3
"""In units of the image: the rounding error of 8 bits in [0, 1], 1 / (255 sqrt(12)). Weaker responses count as none."""

SCALES = 3
ORDER = 3
"""Of the derivative: as many orientations as ORDER + 1 are linearly independent."""


@torch.no_grad()
def features(images: Tensor, patch: int = 32) -> Tensor:
    """Statistics (N, d) of all non-overlapping patches, float64 on the CPU, image by image and row by row.

    images: (B, C, H, W), real, floating point; FLOOR is meant for values about [0, 1]. H, W >= 8.
    patch: side of a patch in pixels, at least 8. A shorter side of the image is one patch, what is left over at the
    right and at the bottom is not used: N = B max(1, H // patch) max(1, W // patch). d = 28 + 3 (C - 1), see above.

    Raises UnveilError for another shape, small images or patches, NaN or infinite values.
    """
    if images.ndim != 4 or 0 in images.shape or not images.is_floating_point():
        raise UnveilError(
            f"images has shape {tuple(images.shape)}, {images.dtype}: pass real floating-point images (B, C, H, W)"
        )
    if min(patch, *images.shape[2:]) < 8:
        raise UnveilError(
            f"images of {images.shape[2]} x {images.shape[3]} pixels in patches of {patch}: texture needs 8 or more"
        )
    if not bool(images.isfinite().all()):
        raise UnveilError("images has NaN or infinite values: replace or crop them before taking features")
    return torch.cat([_features_of_one(image.to("cpu", torch.float64), patch) for image in images])


def _features_of_one(x: Tensor, patch: int) -> Tensor:
    """Features (n, d) of the n patches of x (C, H, W)."""
    rows, columns = (max(1, side // patch) for side in x.shape[1:])
    x = x[:, : rows * patch, : columns * patch]

    def means(v: Tensor) -> Tensor:
        """Patch means (n, K) of v (K, h, w), at any scale."""
        return adaptive_avg_pool2d(v[None], (rows, columns))[0].flatten(1).T

    def strengths(r: Tensor) -> list[Tensor]:
        return [_log(means(r.square()).sqrt()), _log(means(r.abs()))]

    def mean_and_deviation(v: Tensor) -> list[Tensor]:
        mean = means(v)
        return [mean, _log((means(v.square()) - mean.square()).clamp(min=0).sqrt())]

    light = x.mean(0, keepdim=True)
    found = mean_and_deviation(light) + strengths(_residual(light))
    level = light
    for scale in range(SCALES):
        level = _reduced(level) if scale else level
        found += strengths(_oriented(level))
    chroma = (x[:-1] - x[1:]) / math.sqrt(2)
    if len(chroma):
        found += [*mean_and_deviation(chroma), _log(means(_residual(chroma).square()).sqrt())]
    return torch.cat(found, 1)


def _log(v: Tensor) -> Tensor:
    return v.square().add(FLOOR**2).log() / 2


def _separable(x: Tensor, rows: Tensor, columns: Tensor, stride: int = 1) -> Tensor:
    """Each channel of x (K, h, w) filtered by each pair of `columns` (F, 2 R + 1), along y, and `rows`, along x."""
    k, f, size = len(x), len(rows), rows.shape[1]
    x = pad(x[:, None], [size // 2] * 4, mode="replicate")
    x = conv2d(x, rows[:, None, None, :], stride=(1, stride))
    x = conv2d(x, columns[:, None, :, None], stride=(stride, 1), groups=f)
    return x.reshape(k * f, *x.shape[2:])


def _residual(x: Tensor) -> Tensor:
    """The finest residual (K, h, w) of x (K, h, w)."""
    taps = torch.tensor([[1.0, -2.0, 1.0]], dtype=x.dtype) / math.sqrt(6)
    return _separable(x, taps, taps)


def _reduced(x: Tensor) -> Tensor:
    """The next level (K, ceil(h / 2), ceil(w / 2)) of the pyramid."""
    taps = torch.tensor([[1.0, 4.0, 6.0, 4.0, 1.0]], dtype=x.dtype) / 16
    return _separable(x, taps, taps, stride=2)


def _oriented(x: Tensor) -> Tensor:
    """Third derivatives (4, h, w) of x (1, h, w) along theta = 0 (x), 45, 90 (y), 135 degrees, filters of norm one.

    (cos d/dx + sin d/dy)^3 is a sum of four products of a derivative in x and one in y, each of them separable.
    """
    t = torch.arange(-4, 5, dtype=x.dtype)
    hermite = torch.stack([torch.ones_like(t), -t, t**2 - 1, 3 * t - t**3])
    gaussians = hermite * torch.exp(-(t**2) / 2)  # derivatives of order 0..3
    theta = torch.arange(ORDER + 1, dtype=x.dtype)[:, None] * math.pi / (ORDER + 1)
    order = torch.arange(ORDER + 1)  # in y
    binomial = torch.tensor([math.comb(ORDER, j) for j in range(ORDER + 1)], dtype=x.dtype)
    steering = binomial * theta.cos() ** (ORDER - order) * theta.sin() ** order
    filters = torch.einsum("kj,jy,jx->kyx", steering, gaussians, gaussians.flip(0))
    steering = steering / filters.flatten(1).norm(dim=1, keepdim=True)
    return torch.einsum("kj,jhw->khw", steering, _separable(x, gaussians.flip(0), gaussians))
