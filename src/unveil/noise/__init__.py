"""Noise families, one a file, the estimation of unknown levels, and the whitening of correlated noise."""

from unveil.noise.base import Noise
from unveil.noise.estimate import estimate_common_sigma, estimate_sigma
from unveil.noise.gaussian import Gaussian
from unveil.noise.poisson import Poisson
from unveil.noise.whiten import NoiseSpectrum, fit_noise_spectrum, ring_power

NOISES: dict[str, type[Noise]] = {"gaussian": Gaussian, "poisson": Poisson}

__all__ = [
    "NOISES", "Gaussian", "Noise", "NoiseSpectrum", "Poisson", "estimate_common_sigma", "estimate_sigma", "fit_noise_spectrum", "ring_power",
]  # fmt: skip
