"""Rounds after training: draw the training set with less noise from the newest network, and learn from the draws.

    round r:   y_r ~ p(y_t | y),  t = 1 / (1 - r delta)^2,  by going on measuring;   f <- trained on y_r at exposure t
    in the end t = inf:   x_r ~ p(x | y);   f <- trained on measurements of x_r, and on y

(Tachella 2025, the talk.) With delta = 1 every round is one of expectation maximisation for the prior p(x), whose E
step is the posterior sampler (Rozet, Andry, Lanusse and Louppe 2024, https://arxiv.org/abs/2405.13712); half of each
batch stays with the measurements, whose loss is unbiased above the measured level. No symmetry of the images is
assumed. Each round starts from the measurements y, not from the draws of the round before, so that errors of the
sampler do not add up. Rounds are of complete images: of others draws would be blind where A is, and `loss.camera`
learns from draws that are not (`unveil.training.looks`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import EMConfig
from unveil.data import ImageSource
from unveil.dataset import Dataset
from unveil.diffusion import geometric, go_on, posterior_samples
from unveil.estimators import Tiled
from unveil.losses import Loss, Simulated
from unveil.measurement import Estimator, Measurement
from unveil.random import make_generator
from unveil.training.draws import make_draws

__all__ = ["Draws", "WithDraws", "draw_training_set", "exposures_of_rounds"]

LOWEST = 0.05
"""The last level of a draw of x, as a multiple of the measured one."""

ProgressOfDraws = Callable[[int, int], object]


def exposures_of_rounds(config: EMConfig) -> list[float]:
    """Return the exposure t of the training set in each round; inf is the image itself."""
    shares = [1 - r * config.delta for r in range(1, config.rounds + 1)]
    return [share**-2 if share >= LOWEST else math.inf for share in shares]


def chosen(data: Dataset, most: int) -> Dataset:
    """Return `most` of the measurements at most, spread over all."""
    every = max(1, len(data) / most)
    return data.subset([int(i * every) for i in range(min(most, len(data)))])


@torch.no_grad()
def draw_training_set(
    f: nn.Module,
    data: Dataset,
    t: float,
    path: Path,
    *,
    steps: int,
    inflation: float,
    seed: int,
    device: torch.device | str = "cpu",
    progress: ProgressOfDraws | None = None,
) -> ImageSource:
    """Draw y_t ~ p(y_t | y), or x ~ p(x | y) for t = inf, of each measurement, in the zarr group `path`.

    f: f(m), on any device; moved to `device`. steps: evaluations of f a draw. inflation: of the sampler.
    Draws that `path` holds already are kept. Measurement i has a generator of its own, (seed, i), so an interrupted
    round ends as an uninterrupted one would, and several processes draw what one would. progress: (images done, all).
    Raises UnveilError when the draws cannot be written, and Interrupted after Ctrl-C, the last image saved.
    """
    estimator = Tiled(f.to(device).eval())

    def draw(i: int) -> Tensor:
        m, generator = data[i].to(device), make_generator(device, seed, i)
        if math.isinf(t):
            x = posterior_samples(
                estimator, m, generator, samples=1, steps=steps, schedule=geometric, lowest=LOWEST, inflation=inflation
            )
            return x[0, 0]
        share = torch.linspace(0, 1, steps + 1, device=m.y.device, dtype=m.y.dtype)
        return go_on(estimator, m, t**share, generator, inflation=inflation).y[0]

    return make_draws(path, data.source, draw, progress)


@dataclass(frozen=True)
class Draws:
    """A batch of measurements m, and images x (B, C, H, W) that were drawn in rounds."""

    m: Measurement
    x: Tensor

    def to(self, device: torch.device | str) -> "Draws":
        return Draws(self.m.to(device), self.x.to(device))


class WithDraws:
    """The loss of the measurements, and that of images measured again, each of its own half of the batch.

    A loss of (f, draws, generator).

    measured: of the measurements. simulated: of the images, by the operators and the noise of the measurements.
    """

    def __init__(self, measured: Loss, simulated: Simulated) -> None:
        self.measured = measured
        self.simulated = simulated

    def __call__(self, f: Estimator, draws: Draws, generator: torch.Generator) -> Tensor:
        m, x = draws.m, draws.x
        which = torch.arange(len(x), device=x.device) % len(m)
        again = self.simulated(f, x, m.operator.select(which), m.noise.select(which), generator)
        return torch.cat([self.measured(f, m, generator), again])
