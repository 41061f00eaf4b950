"""Models of unveil where deepinv takes a `Denoiser` or a `Reconstructor` (https://deepinv.github.io)."""

from typing import Any

import torch
from deepinv.models import Denoiser, Reconstructor
from torch import Tensor

from unveil.measurement import Measurement
from unveil.model import Model
from unveil.noise import Gaussian

__all__ = ["as_deepinv"]


def as_deepinv(model: Model) -> Denoiser | Reconstructor:
    """Return the model as a deepinv `Denoiser` or `Reconstructor`.

    A `Denoiser`, f(x, sigma), or, where A is not the identity, a `Reconstructor`, f(y, physics).
    """
    return _Reconstructor(model) if model.operator.unseen else _Denoiser(model)


class _Denoiser(Denoiser):
    """forward(x, sigma): E[x | y] of images x (B, C, H, W) in white noise of level sigma, a number or (B,)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.f, self.operator, self.noise = model.f, model.operator, model.noise

    def forward(self, x: Tensor, sigma: float | Tensor | None = None, **kwargs: Any) -> Tensor:
        if sigma is None:
            noise = self.noise.of(x)
        else:
            sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
            noise = Gaussian(sigma.reshape(-1) if sigma.numel() > 1 else sigma.reshape(()))
        x_hat: Tensor = self.f(Measurement(x, self.operator, noise))
        return x_hat


class _Reconstructor(Reconstructor):
    """forward(y, physics): E[x | y] of measurements y (B, *measurement) by the operator that the model was trained on.

    physics is not looked at: a model knows its own operator.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.f, self.operator, self.noise = model.f, model.operator, model.noise

    def forward(self, y: Tensor, physics: Any = None, **kwargs: Any) -> Tensor:
        noise = self.noise.of(y)
        x_hat: Tensor = self.f(Measurement(y, self.operator.to(y.device), noise))
        return x_hat
