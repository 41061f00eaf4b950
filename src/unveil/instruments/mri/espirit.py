"""Coil sensitivities S from the centre of k-space (Uecker et al. 2014, ESPIRiT, https://doi.org/10.1002/mrm.24751).

Coil c measures F S_c x, and S is smooth: the k x k patches of k-space, of all coils together, lie in a space V of few
dimensions, which the centre tells. So S at each pixel r is a vector that the projection onto V leaves alone:

    G(r) S(r) = S(r),   G_cd(r) = 1 / k^2 sum_j v_jc(r) conj(v_jd(r)),   v_j(r) the image of the basis vector j of V

an eigenvector of G, 0 <= G <= 1, of the eigenvalue 1. Where two eigenvalues are 1 the pixel holds two places of the
body, as where the field of view is smaller than it is. Of the images I_c of the centre alone, steps of the power method

    S ~ G^8 I

give what is left of the eigenvectors of 1: the one, or of two the mixture that the image shows. The phase is that which
makes S^H I real, and so x nearly, as images of magnitudes are. Patches of noise alone have singular values below
2^(1/2) sigma (m^(1/2) + n^(1/2)) (Marchenko and Pastur), a little more as they overlap: these are no part of V.

Ours and not a library's: sigpy (0.1.27 of January 2025, its last release) keeps patches by a share of the largest
singular value alone, which in noise of a hundredth of the peak keeps all of them (|S^H S_true| is .60, here .998),
gives one eigenvector where there are two, and brings numba and llvmlite, 200 MB. On brain data where one eigenvalue is
1 the two agree to 1e-5 (docs/incomplete.md).
"""

import torch
from torch import Tensor
from torch.fft import fftshift, ifft2, ifftshift

__all__ = ["KERNEL", "centre_images", "espirit"]

KERNEL = 6
"""k, the side of a patch, in samples of k-space."""
KEPT = 0.02
"""The least singular value of V over the largest (Uecker et al. 2014 have .01 to .05)."""
NOISE = 1.3
"""The least one over that of independent patches of noise."""
POWER = 8
ENTRIES = 2**20
"""Of G that are made at once."""


def espirit(centre: Tensor, height: int, width: int, level: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the sensitivities S (coils, H, W) of norm one, complex, and the two largest eigenvalues (2, H, W) of G.

    centre: k-space (coils, h, w) of two coils or more, complex, its zero frequency at h // 2, w // 2; h, w >= KERNEL.
    level: of the noise of its real and imaginary parts, in its unit. S is of norm one everywhere: where there is no
    signal one is as good as another.
    """
    coils = len(centre)
    patches = centre.unfold(1, KERNEL, 1).unfold(2, KERNEL, 1).movedim(0, 2).reshape(-1, coils * KERNEL**2)
    _, values, basis = torch.linalg.svd(patches, full_matrices=False)
    noise = level * 2**0.5 * sum(side**0.5 for side in patches.shape)
    basis = basis[values >= min(max(KEPT * float(values[0]), NOISE * noise), float(values[0]))]
    terms = _correlation(basis.reshape(-1, coils, KERNEL, KERNEL))
    offset = torch.arange(1 - KERNEL, KERNEL, device=centre.device)
    down, across = (_waves(side, offset).to(centre.dtype) for side in (height, width))
    images = centre_images(centre, height, width)
    maps, eigenvalues = torch.empty_like(images), images.real.new_empty(2, height, width)
    step = max(1, ENTRIES // (coils**2 * width))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        found, vectors = torch.linalg.eigh(torch.einsum("ru,cduv,sv->rscd", down[rows], terms, across))
        seen = (vectors.mH @ images[:, rows].permute(1, 2, 0)[..., None])[..., 0]  # (rows, W, coils)
        weight = (found / found[..., -1:]).clamp_min(0) ** POWER
        nothing = seen[..., -1:] == 0  # where the image is 0 the first eigenvector is as good as another
        seen = torch.where(nothing, (weight == 1).to(seen), weight * seen)
        maps[:, rows] = (vectors @ seen[..., None])[..., 0].permute(2, 0, 1)
        eigenvalues[:, rows] = found[..., -2:].flip(-1).permute(2, 0, 1)
    return maps / torch.linalg.vector_norm(maps, dim=0), eigenvalues


def centre_images(centre: Tensor, height: int, width: int) -> Tensor:
    """Return images (..., H, W) of the centre (..., h, w) of k-space, complex, without ringing (Hann windows)."""
    h, w = centre.shape[-2:]
    top, left = height // 2 - h // 2, width // 2 - w // 2
    padded = centre.new_zeros(*centre.shape[:-2], height, width)
    padded[..., top : top + h, left : left + w] = centre * _hann(h, centre)[:, None] * _hann(w, centre)
    plane = (-2, -1)
    return fftshift(ifft2(ifftshift(padded, dim=plane), norm="ortho"), dim=plane)


def _correlation(v: Tensor) -> Tensor:
    """Return the coefficients (coils, coils, 2 k - 1, 2 k - 1) of G from the basis v (n, coils, k, k) of V."""
    k = v.shape[-1]
    spectrum = torch.fft.fft2(v, s=(2 * k - 1, 2 * k - 1))
    products = torch.einsum("ncuv,nduv->cduv", spectrum, spectrum.conj())
    return fftshift(torch.fft.ifft2(products), dim=(-2, -1)) / k**2


def _waves(side: int, offset: Tensor) -> Tensor:
    """Return exp(2 pi i r u / side) (side, offsets), r = 0 in the middle of the image."""
    r = torch.arange(side, dtype=torch.float64, device=offset.device) - side // 2
    angle = 2 * torch.pi / side * torch.outer(r, offset.double())
    return torch.polar(torch.ones_like(angle), angle)


def _hann(n: int, like: Tensor) -> Tensor:
    """Return the Hann window (n,), 1 at n // 2 and above 0 everywhere."""
    distance = (torch.arange(n, device=like.device) - n // 2).to(like.real.dtype)
    return (torch.pi * distance / (n + 2 - n % 2)).cos().square()
