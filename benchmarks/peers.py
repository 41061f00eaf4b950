"""The peers of noise.py: deepinv's losses on this project's network, and BM3D after a transform."""

from collections.abc import Callable

import numpy as np
import torch
from deepinv.loss import R2RLoss, SureGaussianLoss, SurePGLoss, SurePoissonLoss
from deepinv.physics import Denoising, GammaNoise, GaussianNoise, PoissonNoise
from torch import Tensor, nn

from unveil.measurement import Measurement
from unveil.noise import Gamma, Gaussian, Noise, Poisson, PoissonGaussian
from unveil.operators import Identity

__all__ = ["DEEPINV", "denoised_by_bm3d", "objective"]

ALPHA = 0.15
"""Of R2RLoss, its default: the share of the exposure that is held back."""
WRONG = 0.5
"""What UNSURE begins at, over the true parameter."""

DEEPINV: dict[str, dict[type[Noise], Callable]] = {
    "r2r": {
        Gaussian: lambda n: R2RLoss(noise_model=GaussianNoise(float(n.sigma)), alpha=ALPHA),
        Poisson: lambda n: R2RLoss(noise_model=PoissonNoise(float(n.gain)), alpha=ALPHA),
        Gamma: lambda n: R2RLoss(noise_model=GammaNoise(float(n.looks)), alpha=ALPHA),
        # of photons that are read out it knows none: the closest, rounded to whole counts
        PoissonGaussian: lambda n: R2RLoss(noise_model=PoissonNoise(float(n.gain)), alpha=ALPHA),
    },
    "sure": {
        Gaussian: lambda n: SureGaussianLoss(float(n.sigma)),
        Poisson: lambda n: SurePoissonLoss(float(n.gain)),
        PoissonGaussian: lambda n: SurePGLoss(float(n.read), float(n.gain), second_derivative=True),
    },
    "unsure": {
        Gaussian: lambda n: SureGaussianLoss(WRONG * float(n.sigma), unsure=True),
        Poisson: lambda n: SurePGLoss(1e-4, WRONG * float(n.gain), unsure=True),
        PoissonGaussian: lambda n: SurePGLoss(WRONG * float(n.read), WRONG * float(n.gain), unsure=True),
    },
}


class Told(nn.Module):
    """f as deepinv calls it, (y, physics) -> x, on data whose dark is 0, told the noise at an exposure."""

    def __init__(self, f: nn.Module, noise: Noise, offset: float) -> None:
        super().__init__()
        self.f, self.noise, self.offset = f, noise, offset

    def forward(self, y: Tensor, physics, **options) -> Tensor:
        return self.f(Measurement(y + self.offset, Identity(), self.noise)) - self.offset


def objective(name: str, noise: Noise) -> Callable[[nn.Module, Measurement, torch.Generator], Tensor]:
    """A loss of deepinv, in units of the noise's variance, as this project trains: (f, m, generator) -> (B,)."""
    loss, physics = DEEPINV[name][type(noise)](noise), Denoising()
    offset = float(getattr(noise, "offset", 0.0))
    seen = noise.exposed(1 - ALPHA) if name == "r2r" else noise

    def value(f: nn.Module, m: Measurement, generator: torch.Generator) -> Tensor:
        y, model = m.y - offset, loss.adapt_model(Told(f, seen.to(m.y.device), offset)).train()
        if name == "r2r" and isinstance(noise, PoissonGaussian):
            y = y.clamp_min(0)  # it thins whole counts
        with torch.random.fork_rng(devices=[]):  # it draws from the global generator
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
            x = model(y, physics, update_parameters=True) if name == "r2r" else model(y, physics)
            return loss(x_net=x, y=y, physics=physics, model=model).expand(len(m)) / m.level.square()

    return value


def denoised_by_bm3d(y: np.ndarray, noise: Noise) -> np.ndarray:
    """BM3D of y (H, W), its noise made white and Gaussian of deviation 1."""
    from bm3d import bm3d

    if isinstance(noise, Gaussian):
        return bm3d(y, float(noise.sigma))
    if isinstance(noise, Gamma):
        return despeckled(y, float(noise.looks), bm3d)
    gain, read, offset = (float(getattr(noise, name, 0.0)) for name in ("gain", "read", "offset"))
    counts, sigma = (y - offset) / gain, read / gain
    top = stabilised(np.maximum(counts, 0), sigma).max()
    scale = top if top > 0 else 1.0  # bm3d expects about [0, 1]
    return offset + gain * unstabilised(bm3d(stabilised(counts, sigma) / scale, 1 / scale) * scale, sigma)


def stabilised(counts: np.ndarray, sigma: float) -> np.ndarray:
    """The generalised Anscombe transform of counts, read noise sigma in photons (Starck, Murtagh and Bijaoui 1998)."""
    return 2 * np.sqrt(np.maximum(counts + 3 / 8 + sigma**2, 0))


def unstabilised(d: np.ndarray, sigma: float) -> np.ndarray:
    """Its exact unbiased inverse, in closed form (Makitalo and Foi 2013, https://doi.org/10.1109/TIP.2012.2202675)."""
    d = np.maximum(d, 2 * np.sqrt(3 / 8 + sigma**2) if sigma else 2 * np.sqrt(3 / 8))
    series = d**2 / 4 + np.sqrt(1.5) / (4 * d) - 11 / (8 * d**2) + 5 * np.sqrt(1.5) / (8 * d**3) - 1 / 8
    return np.maximum(series - sigma**2, 0)


def despeckled(y: np.ndarray, looks: float, bm3d: Callable) -> np.ndarray:
    """BM3D of the logarithm, whose noise has the deviation trigamma(L)^(1/2), brought back to the mean of y."""
    from scipy.special import digamma, polygamma

    log = np.log(np.maximum(y, 1e-4 * y.mean()))
    low, high = log.min(), log.max()
    found = bm3d((log - low) / (high - low), float(np.sqrt(polygamma(1, looks))) / (high - low))
    return np.exp(found * (high - low) + low - (digamma(looks) - np.log(looks)))
