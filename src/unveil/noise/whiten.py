"""Noise that a detector has blurred: its power spectrum, found in the images, and the filter that makes it white.

    y = x + n,   n stationary with the power p(|k|) at frequency k         ->        y' = F^-1 (p(0) / p(|k|))^(1/2) F y

Detectors that count through a blur hand on less of high frequencies; the filter gives them back. The noise of y' is
white, and its signal is as sharp as if the detector had not blurred it, if the blur acted on signal and noise alike.
log p is fitted as a polynomial in k^2 where images have little but noise, above a fifth of a cycle per pixel, and goes
on below: smooth and flat at 0, as the transfer function of a detector is (McMullan et al. 2009,
https://doi.org/10.1016/j.ultramic.2009.04.002).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["NoiseSpectrum", "fit_noise_spectrum", "ring_power"]

WINDOW, LOWEST, DEGREE, MARGIN = 128, 0.2, 3, 32


@dataclass(frozen=True)
class NoiseSpectrum:
    """log p(k) = c_0 + c_1 k^2 + c_2 k^4 + ..., the spectrum of the noise.

    k: in cycles per pixel. p: in squared units of y per coefficient (orthonormal).
    """

    coefficients: Tensor

    def power(self, k: Tensor) -> Tensor:
        """Return p(k), any shape."""
        return sum(c * k ** (2 * i) for i, c in enumerate(self.coefficients.to(k))).exp()

    @property
    def level(self) -> float:
        """The deviation of the noise of whitened images, p(0)^(1/2), in the units of y."""
        return float((self.coefficients[0] / 2).exp())

    def whiten(self, y: Tensor) -> Tensor:
        """Return y' (..., H, W) with white noise of deviation `level`; its lowest frequencies are those of y."""
        rows, columns = (min(MARGIN, side - 1) for side in y.shape[-2:])
        flat = y.reshape(-1, 1, *y.shape[-2:])
        padded = F.pad(flat, (columns, columns, rows, rows), mode="reflect")
        k = frequencies(*padded.shape[-2:]).to(y)
        gain = (self.power(torch.zeros_like(k)) / self.power(k)).sqrt()
        filtered = torch.fft.irfft2(torch.fft.rfft2(padded) * gain, s=padded.shape[-2:])
        return filtered[..., rows:-rows, columns:-columns].reshape(y.shape)


def frequencies(height: int, width: int) -> Tensor:
    """Return |k| (H, W // 2 + 1) of `rfft2`, cycles per pixel."""
    return (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width)[None] ** 2).sqrt()


def ring_power(images: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return k (R,), the mean power of the images' coefficients on rings of that frequency (R,), and their number (R,).

    images: (C, H, W), of any sizes; windows of them, tapered, are transformed. Raises UnveilError for sides below 32
    pixels.
    """
    total, number = None, 0
    for image in images:
        side = min(WINDOW, *image.shape[-2:])
        if side < 32 or (total is not None and side != total.shape[0]):
            raise UnveilError(
                f"an image of {image.shape[-2]}x{image.shape[-1]} pixels: the noise's spectrum is found in images of "
                f"at least 32x32, all larger or all smaller than {WINDOW}"
            )
        taper = torch.hann_window(side, periodic=False).sqrt()
        windows = image.double().unfold(-2, side, side // 2).unfold(-2, side, side // 2).reshape(-1, side, side)
        windows = windows - windows.mean((-2, -1), keepdim=True)
        weight = taper[:, None] * taper
        power = torch.fft.rfft2(windows * weight, norm="ortho").abs().square() / weight.square().mean()
        total = power.sum(0) if total is None else total + power.sum(0)
        number += len(power)
    if total is None:
        raise UnveilError("no images to find the noise's spectrum in; pass at least one")
    ring = (frequencies(*((total.shape[0],) * 2)) * total.shape[0]).round().long()
    count = torch.bincount(ring.flatten()).double()
    mean = torch.zeros_like(count).index_add_(0, ring.flatten(), (total / number).flatten()) / count
    return torch.arange(len(mean)) / total.shape[0], mean, count * number


def fit_noise_spectrum(images: Iterable[Tensor]) -> NoiseSpectrum:
    """Fit the spectrum of the noise of images (C, H, W) that hold little but noise above a fifth of a cycle per pixel.

    Raises UnveilError when an image is too small or constant.
    """
    k, power, count = ring_power(images)
    used = k >= LOWEST
    if not bool((power[used] > 0).all()):
        raise UnveilError(
            "an image has no power at high frequencies: was it resampled or is it constant? Use raw images"
        )
    design = torch.stack([k[used].double() ** (2 * i) for i in range(DEGREE + 1)], 1)
    weight = count[used].sqrt()
    solution = torch.linalg.lstsq(design * weight[:, None], power[used].log() * weight).solution
    return NoiseSpectrum(solution)
