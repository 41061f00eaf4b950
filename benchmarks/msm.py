"""MSM: diffusion of the whole measurement, whose score is the mean of scores that partial measurements have.

A network learns A f, the denoiser of partial measurements at every level: above sigma by ambient Tweedie, below it from
its own denoised measurements. The whole k-space z_s at level s is then drawn from noise; at each step a few random
masks, which take turns, show it parts of z_s, and

    z_0 <- on the columns that were shown, the mean of what it made of them; on the others, what it was
    z_0 <- z_0 + s^2 / (s^2 + sigma^2) (y - z_0)   where y was measured
    z_s' ~ p(z_s' | z_s, z_0),   s' < s

(Park, Shoushtari, An and Kamilov 2025, https://arxiv.org/abs/2505.11853; their step towards y has a constant length,
and their network learns the level sigma itself by Stein's estimate, for which recorruption stands here.) It needs
measurements whose masks differ, of one coil here: no mask sees what no other does.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from published import BySamples, Setting
from unveil.diffusion import HIGHEST, karras
from unveil.losses import LogUniform, Loss, Mix, Recorruption, inverse_gradient_variance
from unveil.losses.combine import precision
from unveil.measurement import Estimator, Measurement
from unveil.noise import Gaussian
from unveil.operators import mri
from unveil.random import normal

__all__ = ["Below", "PartialScores", "learn"]

MASKS = 3
"""In a step, as published for MRI."""
LOWEST = 0.05
"""The last level, as a multiple of sigma."""


class Below(Loss):
    """Denoising at levels below sigma, of what f makes of y, held fixed. Two passes."""

    passes = 2.0

    def __init__(self, ratio: LogUniform) -> None:
        self.ratio = ratio

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            u = m.predict(f(m))
        noise = m.noise.exposed(self.ratio(m.level, generator) ** -2)
        again = Measurement(noise.sample(u, generator), m.operator, noise)
        return precision(again) * m.mean_square(u - m.predict(f(again)))


class PartialScores(BySamples):
    """f: trained on partial measurements. p: (H, W), how often an entry was measured. std: of the images."""

    def __init__(self, f: Estimator, p: Tensor, std: float) -> None:
        self.f, self.p, self.std = f, p, std

    def masks(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Draw masks (1, H, W) of columns: those always measured, and some of the others, each before any again."""
        columns = self.p[0]
        always, others = columns > 1 - 1e-6, (columns < 1 - 1e-6).nonzero()[:, 0]
        count = max(1, round(float(columns[others].sum())))
        waiting = others[:0]
        while True:
            if len(waiting) < count:
                order = torch.randperm(len(others), generator=generator, device=generator.device)
                waiting = torch.cat([waiting, others[order.to(others.device)]])
            mask = always.clone()
            mask[waiting[:count]] = True
            waiting = waiting[count:]
            yield mask.expand(1, *self.p.shape)

    @torch.no_grad()
    def draw(self, m: Measurement, generator: torch.Generator, samples: int, evaluations: int) -> Tensor:
        every = m[torch.arange(len(m), device=m.y.device).repeat(samples)]
        sigma, high = float(m.level[0]), HIGHEST * self.std
        levels = [*(high * karras(LOWEST * sigma / high, evaluations) ** -0.5).tolist(), 0.0]
        masks, measured = self.masks(generator), every.operator.project(torch.ones_like(every.y))
        z, z_0 = high * normal(every.y, generator), torch.zeros_like(every.y)
        for s, following in pairwise(levels):
            total, count = torch.zeros_like(z), torch.zeros_like(z)
            for _ in range(MASKS):
                operator = mri(next(masks))
                part = Measurement(z, operator, Gaussian(torch.full((len(z),), s, device=z.device)))
                total, count = total + operator.A(self.f(part)), count + operator.project(torch.ones_like(z))
            z_0 = torch.where(count > 0, total / count.clamp_min(1), z_0)
            z_0 = z_0 + measured * s**2 / (s**2 + sigma**2) * (every.y - z_0)
            kept = (following / s) ** 2
            z = kept * z + (1 - kept) * z_0 + following * (1 - kept) ** 0.5 * normal(z, generator)
        x = mri(torch.ones(1, *self.p.shape, dtype=torch.bool)).to(z.device).A_adjoint(z_0)
        return x.reshape(samples, len(m), *x.shape[1:])


def learn(estimator: nn.Module, setting: Setting) -> PartialScores:
    """Return the sampler."""
    data, std = setting.data, setting.config.estimator.std
    high = HIGHEST * std / float(data[0].level)
    above = Recorruption(LogUniform(1.2, high), inverse_gradient_variance)
    loss = Mix([(0.5, above), (0.5, Below(LogUniform(0.8 * LOWEST, 1.2)))])
    f = setting.fit(estimator, loss, setting.batches())
    measured = data.operator.measured
    assert measured is not None
    return PartialScores(f.to(setting.device), measured.float().mean(0)[0], std)
