"""Estimators f(m) -> x_hat: a small UNet, preconditioned or normalization equivariant, by wrapper or by layers."""

from collections.abc import Callable, Sequence

from torch import nn

from unveil.estimators.affine_unet import AffineUNet
from unveil.estimators.equivariant import NormalizationEquivariant
from unveil.estimators.precondition import Preconditioned, inputs
from unveil.estimators.stationary import Stationary
from unveil.estimators.tiled import Tiled
from unveil.estimators.unet import UNet
from unveil.measurement import Estimator

__all__ = [
    "WRAPPED", "AffineUNet", "NormalizationEquivariant", "Preconditioned", "Stationary", "Tiled", "UNet", "equivariant",
    "inputs", "knows_camera",
]  # fmt: skip


def equivariant(backbone: nn.Module) -> nn.Module:
    """Return the normalization-equivariant wrapper around the preconditioned g: v takes sigma_data's place."""
    return NormalizationEquivariant(Preconditioned(backbone, mean=0.0, std=1.0))


def _equivariant_unet(channels: int, widths: Sequence[int], blocks: int) -> nn.Module:
    return equivariant(UNet(channels, widths, blocks))


def knows_camera(f: Estimator) -> Preconditioned | None:
    """Return the network of f where it knows an ideal camera beside y (`Measurement.beside`), else None."""
    inner = f.f if isinstance(f, Tiled) else f
    return inner if isinstance(inner, Preconditioned) and inner.camera else None


WRAPPED: dict[str, Callable[[int, Sequence[int], int], nn.Module]] = {
    "equivariant": _equivariant_unet,
    "affine": AffineUNet,
}
"""Forms that are normalization equivariant exactly, of images in additive noise: (channels, widths, blocks) -> f(m)."""
