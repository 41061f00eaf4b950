"""Noise families, one a file, the estimation of unknown levels, and the whitening of correlated noise."""

from importlib import import_module

from unveil.noise.base import Noise
from unveil.noise.correlated import Correlated
from unveil.noise.estimate import Found, OwnNoise, choose_noise, estimate_common_sigma, estimate_sigma
from unveil.noise.gamma import Gamma
from unveil.noise.gaussian import Gaussian
from unveil.noise.poisson import Poisson
from unveil.noise.poisson_gaussian import PoissonGaussian
from unveil.noise.whiten import NoiseSpectrum, fit_noise_spectrum, ring_power
from unveil.noises import families


def _family(where: str) -> type[Noise]:
    module, _, name = where.partition(":")
    found: type[Noise] = getattr(import_module(module), name)
    return found


NOISES: dict[str, type[Noise]] = {kind: _family(section.family) for kind, section in families().items()}
"""Every family, by the name that a configuration gives it."""

__all__ = [
    "NOISES", "Correlated", "Found", "Gamma", "Gaussian", "Noise", "NoiseSpectrum", "OwnNoise", "Poisson",
    "PoissonGaussian",
    "choose_noise", "estimate_common_sigma", "estimate_sigma", "fit_noise_spectrum", "ring_power",
]  # fmt: skip
