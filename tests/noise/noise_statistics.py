"""Has noise the moments that its family says? One check for the families of the library and for the wrong ones."""

import pytest
import torch

from unveil.noise import NOISES, Gaussian, Poisson, PoissonGaussian

B = W = 24
FAR = 5
"""Standard errors that none of the few thousand means of single samples and columns that are compared here may be off
by."""
SHARES = [0.1, 0.37, 0.8]


def low(device, dtype):
    """(B,) factors from 1 to 8."""
    return torch.linspace(1, 8, B, device=device, dtype=dtype)


MAKE = {
    "gaussian": lambda factor: Gaussian(0.05 * factor),
    "poisson": lambda factor: Poisson(0.02 * factor),  # 1 to 50 photons
    "poisson-gaussian": lambda factor: PoissonGaussian(0.02 * factor, 0.02 * factor, -0.1 + 0 * factor),
}
every_family = pytest.mark.parametrize("name", NOISES)


def fourth(noise, z, u):
    """E z^4 of the standardized noise z at u: 3, and of counts one over their mean more."""
    if isinstance(noise, Poisson):
        return 3 + noise.variance(torch.ones_like(u)).double() / u.double()
    if isinstance(noise, PoissonGaussian):
        gain, _, offset = (part.double() for part in noise._of(u))
        return 3 + gain**3 * (u - offset) / noise.variance(u).double() ** 2
    return torch.full_like(z, 3)


def check_noise(y, u, noise):
    """Fails unless y (B, ...) has the mean u and the variance that `noise` says, in every sample and column, and is
    white."""
    z = (y - u).double() / noise.variance(u).double().sqrt()
    spread = fourth(noise, z, u) - 1
    for axis in (0, -1):
        rows, scatter = z.movedim(axis, 0).flatten(1), spread.movedim(axis, 0).flatten(1).mean(1)
        assert (rows.mean(1).abs() < FAR / rows.shape[1] ** 0.5).all(), "mean"
        assert ((rows.square().mean(1) - 1).abs() < FAR * (scatter / rows.shape[1]) ** 0.5).all(), "variance"
    for product in (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :], z[:, :1] * z[:, 1:], z[1:] * z[:-1]):
        assert abs(product.mean()) < 4 / product.numel() ** 0.5, "white"
