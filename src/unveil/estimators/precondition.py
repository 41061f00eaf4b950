"""f(y, sigma), an estimate of E[x | y] for y = x + sigma w, around any network g(x, c).

The preconditioning of Karras et al. 2022 (https://arxiv.org/abs/2206.00364, table 1), for signals of mean m and
deviation v (sigma_data there):

    f(y, s) = m + v^2 / (v^2 + s^2) (y - m) + s v / r  g((y - m) / r, ln(s / v) / 4),     r^2 = v^2 + s^2

With g = 0 it is the best affine estimator of white signals. g sees inputs of unit variance and has a target of unit
variance at every level; as s -> 0, f tends to the identity whatever g is.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unveil.errors import UnveilError
from unveil.shapes import expand, per_sample

__all__ = ["PreconditionedDenoiser"]

# ln(s / v) is bounded below at s = 1e-4 v: less noise than a 12-bit sensor's rounding.
LOWEST_RATIO = 1e-4


class PreconditionedDenoiser(nn.Module):
    """f(y, sigma) -> x_hat, callable wherever deepinv takes a `Denoiser`.

    backbone:   g(x, c) -> (B, C, H, W), x (B, C, H, W) of about unit variance, c (B,) the log noise-to-signal ratio
                ln(s / v) / 4. Any network of this form will do: `unveil.estimators.UNet`, deepinv's `DRUNet`, yours.
    mean:       m, mean of the signals, in the units of y.
    deviation:  v, standard deviation of the signals, in the units of y.
    Raises UnveilError when v is not > 0, when g has batch normalization, or when sigma is neither one number nor
    one per sample.
    """

    def __init__(self, backbone: nn.Module, mean: float = 0.5, deviation: float = 0.25) -> None:
        super().__init__()
        if not deviation > 0:
            raise UnveilError(f"deviation must be > 0, not {deviation}: give the signals' standard deviation")
        for name, module in backbone.named_modules():
            if isinstance(module, _BatchNorm):  # not instance normalization, which keeps the samples apart
                raise UnveilError(
                    f"the backbone's {name or 'only module'} is {type(module).__name__}, which couples the samples of a "
                    "batch and so biases the divergence: use group normalization or none"
                )
        self.backbone = backbone
        self.mean = mean
        self.deviation = deviation

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """x_hat (B, C, H, W) from y (B, C, H, W), sigma a number or (B,), both in the units of y."""
        s, v = per_sample(sigma, y), self.deviation
        r = (s**2 + v**2).sqrt()
        c = (s / v).clamp_min(LOWEST_RATIO).log() / 4
        centred = y - self.mean
        residual = self.backbone(centred / expand(r, y), c).to(y.dtype)
        return self.mean + expand(v**2 / r**2, y) * centred + expand(s * v / r, y) * residual


def signal_statistics(y: Tensor, sigma: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """(m, v), each (B,): mean and estimated signal deviation of y (B, ...) at level sigma (B,).

    v^2 = max(var(y) - sigma^2, 0) + (floor sigma)^2: both are equivariant, (a m + mu, a v) for a y + mu at a sigma.
    """
    flat = y.flatten(1)
    variance = (flat.var(1, unbiased=False) - sigma**2).clamp_min(0)
    return flat.mean(1), (variance + (floor * sigma) ** 2).sqrt().clamp_min(torch.finfo(y.dtype).tiny)
