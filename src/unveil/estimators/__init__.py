"""Estimators f(y, sigma) -> x_hat: preconditioning, the normalization-equivariant wrapper, and a small UNet."""

from torch import nn

from unveil.estimators.equivariant import NormalizationEquivariant
from unveil.estimators.precondition import PreconditionedDenoiser
from unveil.estimators.tiled import Tiled
from unveil.estimators.unet import UNet


def preconditioned(backbone: nn.Module) -> nn.Module:
    """f = EDM preconditioning of g for images in [0, 1]."""
    return PreconditionedDenoiser(backbone)


def equivariant(backbone: nn.Module) -> nn.Module:
    """f = the normalization-equivariant wrapper around EDM preconditioning of g: v takes sigma_data's place."""
    return NormalizationEquivariant(PreconditionedDenoiser(backbone, mean=0.0, deviation=1.0))


ESTIMATORS = {"equivariant": equivariant, "preconditioned": preconditioned}

__all__ = [
    "ESTIMATORS", "NormalizationEquivariant", "PreconditionedDenoiser", "Tiled", "UNet", "equivariant", "preconditioned",
]  # fmt: skip
