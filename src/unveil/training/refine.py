"""The iterated recipe: learn above the noise, draw the training set again with less of it, and learn from that.

    round r:   y_r ~ p(x_s | y),  s = max(1 - r delta, 0) sigma_n,   by the reverse diffusion of the newest f from y
               f <- trained on y_r at level s

(Tachella 2025, the talk). With delta = 1 every round draws clean images and trains the denoiser of their law: the EM
algorithm for the prior p(x), whose E step is the posterior sampler (Rozet, Andry, Lanusse and Louppe 2024,
https://arxiv.org/abs/2405.13712); half of each batch stays with the measurements, whose risk is unbiased above sigma_n. No
symmetry of the images is assumed. Each round starts from the measurements y, not from the draws of the round before, so
that errors of the sampler do not add up.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from unveil.config import RefineConfig
from unveil.data import ImageSource
from unveil.diffusion import DPM2M, posterior_samples
from unveil.estimators import Tiled
from unveil.random import make_generator
from unveil.training.draws import make_draws

__all__ = ["draw_training_set", "round_levels"]


def round_levels(sigma_n: float, config: RefineConfig) -> list[float]:
    """The noise level of the training set in each round, in the units of sigma_n; 0 is clean."""
    levels = [sigma_n * max(1 - r * config.delta, 0.0) for r in range(1, config.rounds + 1)]
    return [0.0 if level < LOWEST * sigma_n else level for level in levels]


LOWEST = 0.05
"""The last level of the reverse diffusion above 0, as a multiple of sigma_n."""


@torch.no_grad()
def draw_training_set(
    f: nn.Module,
    source: ImageSource,
    sigma_n: float,
    level: float,
    path: Path,
    *,
    config: RefineConfig,
    gain: float,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], object] | None = None,
) -> ImageSource:
    """One draw of x_s ~ p(x_s | y), s = level, for up to `config.images` images y of `source`, in the zarr group `path`.

    f: f(y, sigma), on any device; moved to `device`. level: 0 <= level < sigma_n. gain: of `DPM2M`.
    Draws that `path` holds already are kept. Image i has a generator of its own, (seed, i), so an interrupted round
    ends as an uninterrupted one would, and several processes draw what one would. progress: (images done, all).
    Raises UnveilError when the draws cannot be written, and Interrupted after Ctrl-C, the last image saved.
    """
    every = max(1, len(source) / config.images)
    chosen = source.subset([int(i * every) for i in range(min(config.images, len(source)))])
    estimator = Tiled(f.to(device).eval())

    def draw(i: int) -> torch.Tensor:
        y = chosen.read(i)[None].to(device)
        return _draw(estimator, y, sigma_n, level, config.draw_steps, gain, make_generator(device, seed, i))

    return make_draws(path, chosen, draw, progress)


def _draw(
    f: nn.Module, y: torch.Tensor, sigma_n: float, level: float, steps: int, gain: float, generator: torch.Generator
) -> torch.Tensor:
    """x (C, H, W) at `level`, drawn given y (1, C, H, W) at sigma_n."""
    if level == 0:
        return posterior_samples(
            f, y, sigma_n, samples=1, steps=steps, solver=DPM2M(gain), sigma_min=LOWEST * sigma_n, generator=generator
        )[0, 0]
    ratios = torch.linspace(0, 1, steps + 1, device=y.device, dtype=y.dtype)
    return DPM2M(gain).solve(f, y, sigma_n * (level / sigma_n) ** ratios, generator)[0]
