"""Small operators whose answer is known by reasoning."""

import math

import torch

from unveil.instruments.interferometry.operator import MICROARCSECOND
from unveil.operators import Coverage, Operator, Optics, interferometry, particles


class Multiplier(Operator):
    """y = h F x as two channels, F the unitary Fourier transform of real images (B, 1, N, N), h (1 or K, N, N) real."""

    rows = ("measured", "h")

    def __init__(self, h):
        side = h.shape[-1]
        self.h, self.measured = h, (h != 0)[:, None]
        self.image_shape, self.measurement_shape = (1, side, side), (2, side, side)

    def _apply(self, x):
        f = torch.fft.fft2(x[:, 0], norm="ortho") * self.h.to(x)
        return torch.stack([f.real, f.imag], 1)

    def _adjoint(self, y):
        return torch.fft.ifft2(torch.complex(y[:, 0], y[:, 1]) * self.h.to(y), norm="ortho").real[:, None]


def multiplier(h):
    """The operator of one multiplier (N, N), or of several (K, N, N)."""
    return Multiplier(h if h.ndim == 3 else h[None])


def wave_numbers(side):
    """ky, kx (N, N), in cycles per image, in the order of torch.fft.fft2."""
    k = torch.fft.fftfreq(side, 1 / side).round()
    return k[:, None].expand(side, side), k.expand(side, side)


def radius(side):
    ky, kx = wave_numbers(side)
    return (ky**2 + kx**2).sqrt()


def columns(side, *chosen):
    """A mask (N, N) of whole columns kx."""
    return torch.isin(wave_numbers(side)[1], torch.tensor(chosen, dtype=torch.float32)).float()


def telescope(side, *points):
    """An interferometer that samples the points (u, v), in cycles per image of `side` pixels."""
    u, v = torch.tensor(points, dtype=torch.float64).T
    return interferometry(Coverage(u, v, torch.ones(len(u))), side, 1 / MICROARCSECOND)


def microscope(side, *defoci):
    """Particles at one defocus or several, angstrom."""
    defocus = defoci[0] if len(defoci) == 1 else torch.tensor(defoci)
    return particles((side, side), Optics(2.0, 300.0, 2.7, 0.1, defocus))


def mirrored(mask):
    """What of a mask (N, N) is known of real images: k and -k."""
    return (mask != 0) | (mask.flip(0, 1).roll((1, 1), (0, 1)) != 0)


def turned(mask):
    """The mask of the image turned by 90 degrees."""
    return (mask != 0).T.flip(0).roll(1, 0)


def numbers_of(where):
    """The set of (ky, kx) in a boolean (N, N)."""
    ky, kx = wave_numbers(len(where))
    return {(int(a), int(b)) for a, b in zip(ky[where], kx[where])}


def wave(side, ky, kx, phase=0.0):
    """cos(2 pi (ky r + kx c) / N + phase), (N, N), of norm 1."""
    r = torch.arange(side, dtype=torch.float64)
    x = torch.cos(2 * math.pi * (ky * r[:, None] + kx * r) / side + phase)
    return x / x.norm()
