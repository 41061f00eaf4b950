"""Do images look alike at every scale? From noisy measurements, before scales is used (`unveil.training.batches`).

Let y_k be the means of y = x + n, n ~ N(0, sigma^2 I), over blocks of k x k pixels, and y_2k repeated twice along each
axis. The energy of the details of y_k,

    D_k = E |y_k - y_2k|^2 - (3 / 4) sigma^2 / k^2        (mean over pixels; its second term is the noise's share),

is an unbiased estimate of that of x. If x looks alike at every scale, so do x_k, and D_k is the same for k = 1, 2, 4,
...: the block mean's own transfer function and its aliasing are in every D_k alike, as x itself is a mean over sensor
pixels. Of a power spectrum f^-(2 + eta), D_k grows as k^eta: a straight line of slope

    eta_k = log2(D_4k / D_k) / 2        (over two octaves, per octave)

with eta near 0 for photographs (D. Field 1987, https://doi.org/10.1364/JOSAA.4.002379), 0.2 to 0.4 in sets of those of
BSD400, and some 0.4 up or down in single ones (A. van der Schaaf, J. van Hateren 1996,
https://doi.org/10.1016/0042-6989(96)00002-8). A blurred image has a large eta_1, which is no reason to warn. But beyond
the size of its objects, the letters of a page or cells in a dish, a picture has no more to show, and eta_k falls
towards -2: what the check looks for. Its figure is

    min over k of eta_k + 2 standard errors,

and it warns below THRESHOLD. The errors are of a jackknife over images, or over tiles where there are fewer than 8,
with the uncertainty of sigma added. Pairs whose D_k is lost in the noise, or in doubt, are left out.

THRESHOLD was chosen on 200 of the 400 photographs of BSD400, photographs of scikit-image, its `page` and `text`, and
synthetic discs; benchmarks/scale_check.py measures how often it errs on others.

Limits. Energies see neither phases nor where things are: one object in the middle of each picture (brain slices, faces,
garments) passes for a photograph. Objects of more than some 18 pixels across are too large for tiles of 64 pixels, of
more than 28 for tiles of 128. Images of less than 64 pixels a side are not judged at all.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.errors import UnveilError

__all__ = ["ScaleCheck", "scale_invariance"]

THRESHOLD = -0.2
"""Of the figure."""

TILES = (128, 64)  # sides of the tiles, pixels: of these the first that there are enough of
ENOUGH = 16  # tiles' worth of pixels, for a verdict
FEWEST_IMAGES = 8  # for a jackknife over images
SIGMA_ERROR = 0.02  # relative, of an estimated level
LARGEST_ERROR = 0.5  # of a slope that counts


@dataclass(frozen=True)
class ScaleCheck:
    """What `scale_invariance` found.

    figure:      min over k of eta_k + 2 standard errors; nan where nothing can be told.
    threshold:   the figure below which the images have a scale of their own.
    verdict:     "alike" (at every scale that was looked at), "own scale" (do not dilate), or "cannot tell".
    explanation: one sentence.
    """

    figure: float
    threshold: float
    verdict: Literal["alike", "own scale", "cannot tell"]
    explanation: str


def scale_invariance(images: Iterable[Tensor], sigma: float) -> ScaleCheck:
    """Judge whether noisy images look alike at every scale, as scales assumes.

    images: tensors (C, H, W), in units of sigma's, which may differ in size; read once, one at a time. Channels are
    averaged. 16 tiles' worth of pixels are needed, tiles of 128 x 128 pixels or, failing these, of 64 x 64; images with
    a shorter side are passed over.
    sigma:  >= 0, the level of their white Gaussian noise, known to some 2% as from `estimate_common_sigma`.

    Raises UnveilError for another shape, complex, NaN or infinite values, and for a sigma that is no level.

    >>> noise = torch.randn(8, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    >>> scale_invariance(noise, 0.0).verdict  # structure of one pixel's size, and nothing larger
    'own scale'
    """
    if not 0 <= sigma < math.inf:
        raise UnveilError(f"sigma is {sigma}: pass the level of the noise, a finite number >= 0")
    found: dict[int, list[Tensor]] = {side: [] for side in TILES}
    pixels = dict.fromkeys(TILES, 0)
    noise = 0.0  # of the mean over channels, largest variance
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] < 1 or image.is_complex():
            raise UnveilError(f"images[{i}] has shape {tuple(image.shape)}, {image.dtype}: pass a real image (C, H, W)")
        if not bool(image.isfinite().all()):
            raise UnveilError(f"images[{i}] has NaN or infinite values: replace or crop them first")
        variance = sigma**2 / image.shape[0]
        noise = max(noise, variance)
        for side in TILES:
            if min(image.shape[1:]) >= side:
                d = _energies(_tiles(image.detach().double().mean(0), side))
                found[side].append(d - variance * _noise_share(d))
                pixels[side] += image[0].numel()
    enough = [side for side in TILES if pixels[side] >= ENOUGH * side**2]
    if not enough:
        smallest = min(TILES)
        return _cannot_tell(
            f"{pixels[smallest] // smallest**2} tiles of {smallest}x{smallest} pixels are too few to tell whether the "
            f"images look alike at every scale ({ENOUGH} are needed)"
        )
    energies = found[enough[0]]
    groups = energies if len(energies) >= FEWEST_IMAGES else list(torch.cat(energies).split(1))
    slopes, errors, counts = _slopes(groups, noise)
    if not bool(counts.any()):
        return _cannot_tell(
            "too little detail stands out of the noise to tell whether the images look alike at every scale"
        )
    figures = torch.where(counts, slopes + 2 * errors, math.inf)
    at = int(figures.argmin())
    figure, ratio = float(figures[at]), 2 ** float(slopes[at])
    change = f"details of {4 * 2**at} pixels have {ratio:.2f} times the contrast of details of {2**at}"
    if figure < THRESHOLD:
        return ScaleCheck(figure, THRESHOLD, "own scale", f"{change}: the images have a scale of their own")
    return ScaleCheck(figure, THRESHOLD, "alike", f"{change} or more: no sign of a scale of the images' own")


def _cannot_tell(why: str) -> ScaleCheck:
    return ScaleCheck(math.nan, THRESHOLD, "cannot tell", why)


def _tiles(image: Tensor, size: int) -> Tensor:
    """Cut image (H, W) into tiles (T, size, size) that cover it evenly, with as little overlap as that takes."""
    starts = []
    for side in image.shape:
        count = math.ceil(side / size)
        starts.append([round(i * (side - size) / max(1, count - 1)) for i in range(count)])
    return torch.stack([image[top : top + size, left : left + size] for top in starts[0] for left in starts[1]])


def _energies(tiles: Tensor) -> Tensor:
    """Return E |y_k - y_2k|^2 (T, scales) of each tile (T, size, size), k = 1, 2, 4, ..., size / 2."""
    y = (tiles - tiles.mean((1, 2), keepdim=True))[:, None]  # the details do not change, and rounding is less
    energies = []
    while y.shape[-1] > 1:
        means = avg_pool2d(y, 2)
        energies.append(y.square().mean((1, 2, 3)) - means.square().mean((1, 2, 3)))
        y = means
    return torch.stack(energies, 1)


def _noise_share(d: Tensor) -> Tensor:
    """Return (3 / 4) / k^2 (scales,), the energies of the details of white noise of variance one.

    d: (..., scales).
    """
    return 0.75 / 4 ** torch.arange(d.shape[-1], dtype=d.dtype, device=d.device)


def _slopes(groups: list[Tensor], noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return (eta_k, their standard errors, whether they count), each (scales - 2,).

    groups: independent sets of D_k (T_g, scales). noise: variance of the noise in them.
    """
    sums = torch.stack([group.sum(0) for group in groups])
    counts = torch.tensor([len(group) for group in groups], dtype=sums.dtype, device=sums.device)[:, None]
    d = sums.sum(0) / counts.sum()
    without = (sums.sum(0) - sums) / (counts.sum() - counts)  # the jackknife's: all groups but one
    eta, replicates = _log_slopes(d), _log_slopes(without)
    n = len(groups)
    variance = (replicates - replicates.mean(0)).square().sum(0) * (n - 1) / n
    # D_k by 2 SIGMA_ERROR of the noise taken from it, through the derivative of eta
    doubt = 2 * SIGMA_ERROR * noise * _noise_share(d)
    variance = variance + (doubt / d.clamp_min(1e-30) / (2 * math.log(2))).square()[:-2]
    seen = d > torch.maximum(4 * doubt, 1e-9 * d.max())  # the latter: rounding, where an image is smooth
    errors = variance.sqrt()
    return eta, errors, seen[:-2] & seen[2:] & (errors < LARGEST_ERROR)


def _log_slopes(d: Tensor) -> Tensor:
    """Return eta_k (..., scales - 2) of D_k (..., scales)."""
    logs = d.clamp_min(1e-30).log2()
    return (logs[..., 2:] - logs[..., :-2]) / 2
