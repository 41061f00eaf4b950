"""The stationary prior: x ~ N(m, S), a Gaussian image that looks alike at every place and in every direction.

Its covariance S is diagonal in frequency: one (C, C) matrix for the channels' coefficients on each ring |k| = r. Then

    E[x | y] = m + S A^T (A S A^T + sigma^2 I)^-1 (y - A m)                the best linear estimate (Wiener)
    x ~ p(x | y):  E[x | y] of y - A z - sigma w, plus z,  z ~ N(0, S)      a posterior draw, by perturbation

and the spectrum of images that are only seen through A is learned by EM: draw x given each y, take the mean of
|FFT(x - m)|^2 on each ring, repeat (Dempster, Laird and Rubin 1977, https://www.jstor.org/stable/2984875). It is the
linear, Gaussian relative of a network trained on measurements alone, learned in seconds. It starts from a power
spectrum of 1/|k|^2, that of natural images (Field 1987, https://doi.org/10.1364/JOSAA.4.002379): from a white one EM
would be slow to tell what is fine from what is aliased.
"""

import torch
from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.linalg import conjugate_gradients
from unveil.measurement import Measurement
from unveil.random import normal
from unveil.shapes import expand

__all__ = ["Stationary"]

FLOOR = 1e-3
"""Of the mean variance: where nothing was counted the variance that is estimated is 0."""
ITERATIONS = 60
"""Of conjugate gradients.

Masks, mosaics and CTFs need up to 40 for an error well below sigma at sigma_n, more at lower levels.
"""


class Stationary(nn.Module):
    """N(m, S) on images (C, H, W), periodic at their borders.

    mean, std: m and v, of each pixel; v is that of the start only, before `relearn`.
    spectrum: buffer (R, C, C), the covariance of the channels' orthonormal Fourier coefficients on the rings 0 <= r <
              R, squared units of x; r counts cycles across the longer side.
    Raises UnveilError when std is not > 0.
    """

    spectrum: Tensor
    ring: Tensor
    counted: Tensor

    def __init__(self, image_shape: tuple[int, ...], mean: float = 0.5, std: float = 0.25) -> None:
        super().__init__()
        if not std > 0:
            raise UnveilError(f"std must be > 0, not {std}: give the signals' standard deviation")
        channels, height, width = image_shape
        self.mean = mean
        cycles = torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None] ** 2
        ring = (cycles.sqrt() * max(height, width)).round().long()
        self.register_buffer("ring", ring, persistent=False)
        # the half-plane of a real image's coefficients: those of the other half count with these
        counted = torch.full(ring.shape, 2.0)
        counted[:, 0] = 1
        if width % 2 == 0:
            counted[:, -1] = 1
        self.register_buffer("counted", counted, persistent=False)
        falling = 1 / (1 + torch.arange(int(ring.max()) + 1.0) ** 2)
        falling = falling * height * width / (falling[ring] * counted).sum()
        self.register_buffer("spectrum", std**2 * falling[:, None, None] * torch.eye(channels))

    def covariance(self, x: Tensor) -> Tensor:
        """Return S x (B, C, H, W)."""
        return self._filter(x, self.spectrum)

    def looked(self, root: Tensor) -> Tensor:
        """Return (S^-1 + t I)^-1 (B, R, C, C), the spectrum that a camera's look leaves open; root: t^(1/2) (B,)."""
        S, t = self.spectrum, root.square()[:, None, None, None]
        return torch.linalg.solve(torch.eye(S.shape[-1]).to(S) + t * S, S)

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw z ~ N(0, S) (B, C, H, W)."""
        values, vectors = torch.linalg.eigh(self.spectrum)
        root = vectors @ torch.diag_embed(values.clamp_min(0).sqrt()) @ vectors.mT
        return self._filter(normal(like, generator), root)

    def estimate(self, m: Measurement) -> Tensor:
        """Return E[x | y] (B, C, H, W), of an ideal camera beside y too, where there is one."""
        whole = m
        m, root, scaled = m.apart()
        centre = m.operator.image(m.y) + self.mean
        if m is whole:
            return centre + self._correction(m, m.y - m.predict(centre), self.spectrum)
        spectrum, wide = self.looked(root), expand(root, scaled)
        centre = centre + self._filter(wide * (scaled - wide * centre), spectrum)
        return centre + self._correction(m, m.y - m.predict(centre), spectrum)

    def posterior_draw(self, m: Measurement, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x | y) (B, C, H, W), one for each y."""
        centre = m.operator.image(m.y) + self.mean
        x = centre + self.draw(centre, generator)
        return x + self._correction(m, m.y - m.noise.sample(m.predict(x), generator), self.spectrum)

    @torch.no_grad()
    def relearn(self, x: Tensor) -> None:
        """Set the spectrum of greatest likelihood, given images x (B, C, H, W): the M step."""
        coefficients = torch.fft.rfft2(x - self.mean, norm="ortho")
        power = torch.einsum("bchw,bdhw->hwcd", coefficients, coefficients.conj()).real / len(x)
        power = (power * self.counted[..., None, None]).flatten(0, 1)
        total = torch.zeros_like(self.spectrum).index_add_(0, self.ring.flatten(), power.to(self.spectrum))
        number = torch.zeros_like(total[:, 0, 0]).index_add_(0, self.ring.flatten(), self.counted.flatten())
        self.spectrum.copy_(total / number[:, None, None])

    def _correction(self, m: Measurement, residual: Tensor, spectrum: Tensor) -> Tensor:
        """Return S A^T (A S A^T + var(n))^-1 residual."""
        A, variance = m.operator, torch.maximum(m.noise.estimated_variance(m.y), FLOOR * expand(m.level**2, m.y))

        def apply(u: Tensor) -> Tensor:
            return m.predict(self._filter(A.A_adjoint(u), spectrum)) + variance * u

        solved = conjugate_gradients(apply, A.project(residual), ITERATIONS, tolerance=1e-4)
        return self._filter(A.A_adjoint(solved), spectrum)

    def _filter(self, x: Tensor, spectrum: Tensor) -> Tensor:
        """Return x filtered by the matrices (R, C, C), or (B, R, C, C), of its rings."""
        coefficients = torch.fft.rfft2(x, norm="ortho")
        matrices = spectrum[..., self.ring, :, :].to(coefficients)
        filtered = torch.einsum(("b" if spectrum.ndim == 4 else "") + "hwcd,bdhw->bchw", matrices, coefficients)
        return torch.fft.irfft2(filtered, s=x.shape[-2:], norm="ortho")
