"""Estimators f(y, sigma) -> x_hat: a small UNet, preconditioned or normalization equivariant, by wrapper or by layers."""

from collections.abc import Callable, Sequence

from torch import nn

from unveil.estimators.affine_unet import AffineUNet
from unveil.estimators.equivariant import NormalizationEquivariant
from unveil.estimators.precondition import PreconditionedDenoiser
from unveil.estimators.reconstruction import Reconstruction
from unveil.estimators.stationary import Stationary
from unveil.estimators.tiled import Tiled
from unveil.estimators.unet import UNet


def preconditioned(backbone: nn.Module) -> nn.Module:
    """f = EDM preconditioning of g for images in [0, 1]."""
    return PreconditionedDenoiser(backbone)


def equivariant(backbone: nn.Module) -> nn.Module:
    """f = the normalization-equivariant wrapper around EDM preconditioning of g: v takes sigma_data's place."""
    return NormalizationEquivariant(PreconditionedDenoiser(backbone, mean=0.0, deviation=1.0))


def _equivariant_unet(channels: int, widths: Sequence[int], blocks: int) -> nn.Module:
    return equivariant(UNet(channels, widths, blocks))


def _preconditioned_unet(channels: int, widths: Sequence[int], blocks: int) -> nn.Module:
    return preconditioned(UNet(channels, widths, blocks))


ESTIMATORS: dict[str, Callable[[int, Sequence[int], int], nn.Module]] = {
    "equivariant": _equivariant_unet,
    "preconditioned": _preconditioned_unet,
    "affine": AffineUNet,
}
"""(channels, widths, blocks) -> f(y, sigma), by the name that a configuration gives it."""

__all__ = [
    "ESTIMATORS", "AffineUNet", "NormalizationEquivariant", "PreconditionedDenoiser", "Reconstruction", "Stationary", "Tiled", "UNet", "equivariant", "preconditioned",
]  # fmt: skip
