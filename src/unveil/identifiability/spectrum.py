"""Rank and null space of M = E_g[T_g^T A^T A T_g]: which part of the images is never seen.

M is that of `unveil.identifiability.average`. Learning from measurements alone is possible only if M has full rank (J.
Tachella, D. Chen, M. Davies 2023, Sensing theorems for unsupervised learning in linear inverse problems,
https://jmlr.org/papers/v24/22-0315.html). An eigenvalue counts as zero below TOLERANCE times the largest: there noise
is 30 times stronger in what is recovered than in what is seen best.

Small problems by the matrix and all its eigenvalues. Others by Lanczos from a few random images z: the projection Pz on
the eigenvectors below the threshold gives its part of each frequency and pixel, sum z_k* (P z)_k / sum |z_k|^2 (exact
where P is diagonal), their sum is the dimension of the null space, and Pz itself is an image that is never seen.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.identifiability.average import CHUNK, Average
from unveil.linalg import lanczos
from unveil.operators.base import Operator
from unveil.random import normal
from unveil.symmetry import Product, Symmetry

__all__ = ["TOLERANCE", "Spectrum", "find_spectrum", "seconds_needed"]

TOLERANCE = 1e-3
DENSE = 2e10
"""Most multiplications, n^3 for each pair (g, a), of the way by the matrix."""
PROBES = 3
STEPS = 40
DIRECTIONS = 6


@dataclass(frozen=True)
class Spectrum:
    """What is never seen of images (C, H, W).

    eigenvalues: ascending, in units of the largest: all those of the judged images, or the Ritz values found.
    judged:      how many of the n = C H W dimensions are judged (see `unveil.identifiability.average`).
    hidden:      how many of these are never seen; an estimate unless `exact`.
    fourier:     (H, W), in the order of torch.fft.fft2: the part of each frequency that is never seen, 0 to 1; NaN
                 where it is not judged. Images of 2 channels count as complex.
    pixels:      (H, W), the same of each pixel.
    directions:  (d, C, H, W), some images of norm 1 that are never seen.
    constant:    |A T_g 1|^2 / |1|^2 in the mean, in units of the largest eigenvalue: whether brightness is seen.
    complete:    every g and every operator is in the mean; otherwise a fixed set of them.
    """

    eigenvalues: Tensor
    judged: int
    hidden: float
    fourier: Tensor
    pixels: Tensor
    directions: Tensor
    constant: float
    exact: bool
    complete: bool

    @property
    def rank(self) -> float:
        """The rank of M, on the images judged."""
        return self.judged - self.hidden

    @property
    def full(self) -> bool:
        """Whether all is seen.

        Where a sample of g stands for the group, 0.1% may be missed by chance.
        """
        if self.complete:
            return float(self.eigenvalues[0]) >= TOLERANCE
        return self.hidden < max(0.5, 1e-3 * self.judged)


def find_spectrum(
    operator: Operator,
    symmetry: Symmetry | None,
    image_shape: tuple[int, ...],
    generator: torch.Generator,
) -> Spectrum:
    """Return the spectrum of M for images of `image_shape` (C, H, W).

    symmetry: None gives that of A^T A, or of its mean over operators.

    Computed where `generator` is, in double precision by the matrix and in single by Lanczos.
    """
    group = Product() if symmetry is None else symmetry
    like = torch.empty(1, *image_shape, dtype=torch.float64, device=generator.device)
    average = Average(operator, group, like, generator)
    if _is_small(average):
        return _by_matrix(average)
    average = Average(operator, group, like.float(), generator)
    return _by_lanczos(average, generator)


def seconds_needed(
    operator: Operator, symmetry: Symmetry | None, image_shape: tuple[int, ...], generator: torch.Generator
) -> float:
    """Return about how many seconds `find_spectrum` takes here at least; 0 of small problems.

    By the time of some images through A and back. Of large sinograms, whose rays are summed one by one, it is hours.
    """
    like = torch.zeros(1, *image_shape, device=generator.device)
    average = Average(operator, Product() if symmetry is None else symmetry, like, generator)
    if _is_small(average):
        return 0.0
    size = max(1, min(CHUNK // average.n, len(average.g)))
    A, x = average.operator.select(average.which[:size]), like.expand(size, *image_shape)
    A.A(x)  # the first time makes what is kept
    begin = time.perf_counter()
    A.A_adjoint(A.A(x))
    return (time.perf_counter() - begin) * math.ceil(len(average.g) / size) * STEPS


def _is_small(average: Average) -> bool:
    return float(average.n) ** 3 * len(average.g) <= DENSE


def _by_matrix(average: Average) -> Spectrum:
    shape = average.shape
    m, values, null = eigenvectors_never_seen(average)
    largest = values[-1]
    null = null.reshape(-1, *shape)
    squares = _fourier(torch.cat([null, torch.zeros_like(average.like)])).abs().square().sum(0)  # of none, too
    return Spectrum(
        values / largest,
        average.judged,
        float(len(null)),
        _judged(squares.mean(0) / (2 if shape[0] == 2 else 1), average),
        null.square().sum(0).mean(0),
        null[:DIRECTIONS],
        min(float(u.flatten() @ m @ u.flatten()) for u in _constants(average)) / float(largest),
        exact=True,
        complete=average.complete,
    )


def eigenvectors_never_seen(average: Average) -> tuple[Tensor, Tensor, Tensor]:
    """Return the judged M (n, n), its eigenvalues (judged,) ascending, and the eigenvectors (d, n) never seen."""
    n = average.n
    eye = torch.eye(n, dtype=average.like.dtype, device=average.like.device)
    projector = average.project(eye.reshape(n, *average.shape)).reshape(n, n)
    m = projector @ average.matrix() @ projector
    # What is not judged is put above all else.
    values, vectors = torch.linalg.eigh(m + 2 * m.norm() * (eye - projector))
    values, vectors = values[: average.judged], vectors[:, : average.judged]
    return m, values, vectors[:, values < TOLERANCE * values[-1]].mT


def part_never_seen(z: Tensor, run: tuple[Tensor, Tensor, Tensor], largest: float) -> Tensor:
    """Return P z (C, H, W), of a judged z, from which the Lanczos process has run; largest: eigenvalue of M."""
    basis, ritz, vectors = run
    weights = (vectors * (ritz < TOLERANCE * largest)) @ vectors[0]
    return z.norm() * torch.einsum("k,kchw->chw", weights, basis)


def _by_lanczos(average: Average, generator: torch.Generator) -> Spectrum:
    probes, runs = [], []
    for _ in range(PROBES):
        probes.append(average.project(normal(average.like[0], generator)))
        runs.append(lanczos(average, average.project, probes[-1], STEPS))
        ritz = runs[-1][1]
        if ritz[0] >= TOLERANCE * ritz[-1]:
            break  # a random image has a part in every null direction
    largest = max(float(ritz[-1]) for _, ritz, _ in runs)
    hidden = [part_never_seen(z, run, largest) for z, run in zip(probes, runs)]
    images, parts = torch.stack(probes), torch.stack(hidden)  # z and P z
    f, energy = _fourier(images), images.square()
    tiny = torch.finfo(energy.dtype).tiny
    shares = (f.conj() * _fourier(parts)).real.sum((0, 1)) / f.abs().square().sum((0, 1)).clamp_min(tiny)
    pixels = (images * parts).sum((0, 1)) / energy.sum((0, 1))
    # The mean share is the rank's, of frequencies and of pixels alike; it is exact where the shares are all 0 or 1.
    estimates = [shares[average.inside]] + ([pixels] if bool(average.inside.all()) else [])
    share = min(estimates, key=lambda s: float((s * (1 - s)).abs().mean())).mean()
    norms = parts.flatten(1).norm(dim=1)
    directions = (parts / norms.clamp_min(tiny)[:, None, None, None])[norms > 1e-3 * energy.sum((1, 2, 3)).sqrt()]
    return Spectrum(
        torch.cat([ritz for _, ritz, _ in runs]).sort().values / largest,
        average.judged,
        float(average.judged * share.clamp(0, 1)),
        _judged(shares, average),
        pixels.clamp(0, 1),
        directions,
        min(float((u * average(u)).sum()) for u in _constants(average)) / largest,
        exact=False,
        complete=average.complete,
    )


def _constants(average: Average) -> list[Tensor]:
    """Return the constant image of each channel, (C, H, W) of norm 1."""
    channels = average.shape[0]
    one = torch.ones_like(average.like[0]) * (channels / average.n) ** 0.5
    return [one * (torch.arange(channels, device=one.device) == c)[:, None, None] for c in range(channels)]


def _fourier(x: Tensor) -> Tensor:
    """Return the unitary Fourier transform of images x (N, C, H, W); of 2 channels as of complex ones, (N, 1, H, W)."""
    return torch.fft.fft2(torch.complex(x[:, :1], x[:, 1:]) if x.shape[1] == 2 else x, norm="ortho")


def _judged(shares: Tensor, average: Average) -> Tensor:
    return torch.where(average.inside, shares.clamp(0, 1), torch.nan)
