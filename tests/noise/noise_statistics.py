"""Has noise the moments that its family says? One check for the families of the library and for the wrong ones."""

import pytest
import torch

from unveil.noise import NOISES, Correlated, Gamma, Gaussian, Poisson, PoissonGaussian
from unveil.shapes import expand

B = W = 24
FAR = 5
"""Standard errors that none of the few thousand means of single samples and columns that are compared here may be off
by."""
SHARES = [0.1, 0.37, 0.8]


def low(device, dtype):
    """(B,) factors from 1 to 8."""
    return torch.linspace(1, 8, B, device=device, dtype=dtype)


KERNEL = torch.tensor([[0.1, 0.3, 0.0], [0.2, 1.0, 0.4]])
CHANNELS = torch.tensor([[1.0, 0.8], [0.8, 2.5]])
MAKE = {
    "gaussian": lambda factor: Gaussian(0.05 * factor),
    "poisson": lambda factor: Poisson(0.02 * factor),  # 1 to 50 photons
    "poisson-gaussian": lambda factor: PoissonGaussian(0.02 * factor, 0.02 * factor, -0.1 + 0 * factor),
    "gamma": lambda factor: Gamma(40 / factor),  # 5 to 40 looks
    "correlated": lambda factor: Correlated(0.05 * factor, KERNEL, 0.2, 0.1, CHANNELS),
}
every_family = pytest.mark.parametrize("name", NOISES)
EXCESS = {
    (Gaussian, Correlated): lambda noise, u: 0.0,
    Poisson: lambda noise, u: noise._gain(u) / u,  # one over the mean count
    PoissonGaussian: lambda noise, u: (
        (noise._of(u)[0] / noise.variance(u)) ** 2 * (noise.variance(u) - noise._of(u)[1] ** 2)
    ),
    Gamma: lambda noise, u: 6 / noise._looks(u),
}
"""Family -> the kurtosis of y given u, less 3."""
SCATTER = {
    (Gaussian, Correlated): lambda noise, u: 0.0,
    Poisson: lambda noise, u: noise._gain(u) / u,
    PoissonGaussian: lambda noise, u: noise._of(u)[0] ** 2 / noise.variance(u),
    Gamma: lambda noise, u: (4 + 6 / noise._looks(u)) / (noise._looks(u) + 1),
}
"""Family -> the variance of estimated_variance(y) given u, over its squared mean."""


def of_family(table, noise, u):
    """The entry of `table` for the noise's family, in double precision, like u."""
    value = next(entry for family, entry in table.items() if isinstance(noise, family))
    return torch.zeros_like(u, dtype=torch.float64) + value(noise, u)


def covariance(noise, channels, height, width):
    """The covariance (N, N) of a sample's entries at sigma = 1, by its definition: products of the kernel at each
    lag."""
    kernel = noise.kernel.double().cpu().reshape(noise.kernel.shape[-2:])
    rows, columns = (float(torch.as_tensor(share).flatten()[0]) for share in (noise.rows, noise.columns))
    h, w = kernel.shape
    plane = torch.zeros(2 * height - 1, 2 * width - 1, dtype=torch.float64)  # by lag
    for down in range(1 - h, h):
        for across in range(1 - w, w):
            first = kernel[max(0, -down) : h - max(0, down), max(0, -across) : w - max(0, across)]
            second = kernel[max(0, down) : h - max(0, -down), max(0, across) : w - max(0, -across)]
            plane[height - 1 + down, width - 1 + across] = (first * second).sum() / kernel.square().sum()
    plane *= 1 - rows - columns
    plane[height - 1] += rows
    plane[:, width - 1] += columns
    y, x = torch.arange(height), torch.arange(width)
    within = plane[(y[:, None] - y)[:, None, :, None] + height - 1, (x[:, None] - x)[None, :, None] + width - 1]
    within = within.reshape(height * width, height * width)
    shared = torch.eye(channels).double() if noise.covariance is None else noise.covariance.double().cpu()
    return torch.kron(shared * channels / shared.trace(), within)


PART = 12
"""Rows of which correlated noise is looked at, so that Cholesky's factor is found in no time."""


def whitened(y, u, noise):
    """The noise of y (B, C, H, W) in units of what `noise` says: white and of deviation 1 where that is true.

    Of correlated noise PART of its rows, which have one covariance but for sigma.
    """
    z = (y - u).double()
    if not isinstance(noise, Correlated):
        return z / noise.variance(u).double().sqrt()
    z = z[:, :, :PART] / expand(torch.as_tensor(noise.sigma).to(z).reshape(-1), z)
    root = torch.linalg.cholesky(covariance(noise, *z.shape[1:])).to(z.device)
    return torch.linalg.solve_triangular(root, z.flatten(1).T, upper=False).T.reshape(z.shape)


def check_noise(y, u, noise):
    """Fails unless y (B, ...) has the mean u and the variance and covariance that `noise` says, in every sample and
    column: what these make white is white."""
    z = whitened(y, u, noise)
    spread = 2 + of_family(EXCESS, noise, u)[:, :, : z.shape[2]]
    for axis in (0, -1):
        rows, scatter = z.movedim(axis, 0).flatten(1), spread.movedim(axis, 0).flatten(1).mean(1)
        assert (rows.mean(1).abs() < FAR / rows.shape[1] ** 0.5).all(), "mean"
        assert ((rows.square().mean(1) - 1).abs() < FAR * (scatter / rows.shape[1]) ** 0.5).all(), "variance"
    for product in (z[..., 1:] * z[..., :-1], z[..., 1:, :] * z[..., :-1, :], z[:, :1] * z[:, 1:], z[1:] * z[:-1]):
        assert abs(product.mean()) < 4 / product.numel() ** 0.5, "white"
