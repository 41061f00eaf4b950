"""Noise families, one a file, and the estimation of unknown levels."""

from unveil.noise.base import Noise
from unveil.noise.estimate import estimate_common_sigma, estimate_sigma
from unveil.noise.gaussian import Gaussian

NOISES = {"gaussian": Gaussian}

__all__ = ["NOISES", "Gaussian", "Noise", "estimate_common_sigma", "estimate_sigma"]
