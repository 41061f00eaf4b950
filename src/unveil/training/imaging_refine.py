"""Expectation maximisation for incomplete measurements: a prior of x learned from posterior draws, and draws under that prior.

    x_0 ~ the draws of f:  the diffusion in measurement space, then f          (blind where A is: see `unveil.diffusion.measurement`)
    round r:   D_r <- the denoiser of the law of x_(r-1),     x_r ~ p(x | y) under D_r      by moment matching
    at last    f   <- trained on A T_g x_R + s w against T_g x_R, and on the measurements

(Rozet, Andry, Lanusse and Louppe 2024, https://arxiv.org/abs/2405.13712.) The prior is of images, so what A does not see is drawn
too. The draws under D start from f(y) + s w at a level s above the deviation of the images: p(x | y) is narrow against it.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.data import ImageSource
from unveil.diffusion import DPM2M, reconstruction_samples, samples_under_prior
from unveil.errors import UnveilError
from unveil.problem import Problem, Several
from unveil.random import make_generator
from unveil.risks import told
from unveil.training.draws import make_draws
from unveil.training.loop import Progress

__all__ = ["Shaped", "draw_images"]


class Shaped(ImageSource):
    """The names of measurements, and the shape (C, H, W) of the images that are drawn from them. Nothing can be read."""

    def __init__(self, measurements: ImageSource, image_shape: tuple[int, ...]) -> None:
        self._measurements = measurements
        self._shape = image_shape

    @property
    def channels(self) -> int:
        return self._shape[0]

    def __len__(self) -> int:
        return len(self._measurements)

    def shape(self, i: int) -> tuple[int, int, int]:
        channels, height, width = self._shape
        return channels, height, width

    def name(self, i: int) -> str:
        return self._measurements.name(i)

    def _read(self, i: int, window: tuple[int, int, int, int]) -> Tensor:
        raise UnveilError(f"{self.name(i)}: only its shape is known, not the image")


@torch.no_grad()
def draw_images(
    f: nn.Module,
    prior: nn.Module | None,
    measurements: ImageSource,
    problem: Problem | Several,
    sigma_n: float,
    path: Path,
    *,
    highest: float,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> ImageSource:
    """One draw of x ~ p(x | y) for each measurement, in the zarr group `path`; draws that it holds already are kept.

    f: f(y, sigma, problem). prior: D(x, s), the denoiser of images under which x is drawn; None draws by f alone.
    highest: level at which the draws under a prior start, several times the deviation of the images.
    Raises UnveilError when the draws cannot be written, and Interrupted after Ctrl-C, the last image saved.
    """
    shape = problem.at(torch.zeros(1, dtype=torch.long)).image_shape or measurements.shape(0)
    f.to(device).eval()
    if prior is not None:
        prior.to(device).eval()

    def draw(i: int) -> Tensor:
        y = measurements.read(i)[None].to(device)
        part = problem.at(torch.tensor([i], device=y.device))
        return _draw(f, prior, y, part, sigma_n, highest, steps, make_generator(device, seed, i))[0]

    shown = None if progress is None else lambda done, total: progress(done, total, {})
    return make_draws(path, Shaped(measurements, shape), draw, shown)


def _draw(
    f: nn.Module,
    prior: nn.Module | None,
    y: Tensor,
    problem: Problem,
    sigma_n: float,
    highest: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """x (1, C, H, W) given y (1, *measurement)."""
    estimate = told(f, problem)
    if prior is None:
        drawn = reconstruction_samples(
            estimate,
            problem,
            y,
            sigma_n,
            samples=1,
            steps=steps,
            solver=DPM2M(),
            sigma_min=0.05 * sigma_n,
            generator=generator,
        )
        return drawn[0]
    x_hat = estimate(y, torch.full((1,), sigma_n, dtype=y.dtype, device=y.device))
    return samples_under_prior(
        prior,
        problem,
        y,
        sigma_n,
        x_hat,
        highest,
        samples=1,
        steps=2 * steps,
        sigma_min=0.05 * sigma_n,
        generator=generator,
    )[0]
