"""Has noise the moments that its family says? One check for the families of the library and for the wrong ones."""

import pytest
import torch

from unveil.noise import NOISES, Gamma, Gaussian, Poisson, PoissonGaussian

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
    "gamma": lambda factor: Gamma(40 / factor),  # 5 to 40 looks
}
every_family = pytest.mark.parametrize("name", NOISES)
EXCESS = {
    Gaussian: lambda noise, u: 0.0,
    Poisson: lambda noise, u: noise._gain(u) / u,  # one over the mean count
    PoissonGaussian: lambda noise, u: (
        (noise._of(u)[0] / noise.variance(u)) ** 2 * (noise.variance(u) - noise._of(u)[1] ** 2)
    ),
    Gamma: lambda noise, u: 6 / noise._looks(u),
}
"""Family -> the kurtosis of y given u, less 3."""
SCATTER = {
    Gaussian: lambda noise, u: 0.0,
    Poisson: lambda noise, u: noise._gain(u) / u,
    PoissonGaussian: lambda noise, u: noise._of(u)[0] ** 2 / noise.variance(u),
    Gamma: lambda noise, u: (4 + 6 / noise._looks(u)) / (noise._looks(u) + 1),
}
"""Family -> the variance of estimated_variance(y) given u, over its squared mean."""


def of_family(table, noise, u):
    """The entry of `table` for the noise's family, in double precision, like u."""
    value = next(entry for family, entry in table.items() if isinstance(noise, family))
    return torch.zeros_like(u, dtype=torch.float64) + value(noise, u)


def check_noise(y, u, noise):
    """Fails unless y (B, ...) has the mean u and the variance that `noise` says, in every sample and column, and is
    white."""
    z = (y - u).double() / noise.variance(u).double().sqrt()
    spread = 2 + of_family(EXCESS, noise, u)
    for axis in (0, -1):
        rows, scatter = z.movedim(axis, 0).flatten(1), spread.movedim(axis, 0).flatten(1).mean(1)
        assert (rows.mean(1).abs() < FAR / rows.shape[1] ** 0.5).all(), "mean"
        assert ((rows.square().mean(1) - 1).abs() < FAR * (scatter / rows.shape[1]) ** 0.5).all(), "variance"
    for product in (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :], z[:, :1] * z[:, 1:], z[1:] * z[:-1]):
        assert abs(product.mean()) < 4 / product.numel() ** 0.5, "white"
