"""Samples of the posterior, started at a measurement, and of the prior, started at noise.

Posterior. y = x + sigma_n n is itself x_s at s = sigma_n. The reverse diffusion from there to 0 draws x ~
p(x | y):

    x_{sigma_n} = y   ->   ...   ->   x_0 ~ p(x | y)

Prior. At sigma_max far above the signal's deviation c^(1/2), p(x_s) is nearly N(mean, s^2 I), whatever the
signal:

    x_{sigma_max} = mean + sigma_max w   ->   ...   ->   x_0 ~ p(x), nearly

The start ignores the signal's own variance. For a Gaussian signal of mean m and variance c per direction
the samples have mean m + (mean - m) c / (c + sigma_max^2) and variance c (1 - (c / (c + sigma_max^2))^2).
In images, c is largest for the image's overall brightness, for which it sums over pixels: n pixels that all
share a random offset of deviation d have c = n d^2. Hence sigma_max well above d n^(1/2), or the samples'
brightness varies too little.
"""

import torch
from torch import Tensor

from unveil.diffusion.heun import Heun
from unveil.diffusion.schedule import Schedule, geometric, karras
from unveil.diffusion.solver import Denoise, Progress, Solver
from unveil.errors import UnveilError
from unveil.random import normal
from unveil.shapes import per_sample

__all__ = ["posterior_samples", "prior_samples"]


@torch.no_grad()
def posterior_samples(
    denoise: Denoise,
    y: Tensor,
    sigma_n: float | Tensor,
    *,
    generator: torch.Generator,
    samples: int = 16,
    steps: int = 25,
    solver: Solver | None = None,
    schedule: Schedule = geometric,
    sigma_min: float | Tensor | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Draws of x ~ p(x | y), y = x + sigma_n n, by the reverse diffusion from y at sigma_n to 0.

    denoise: D(x, s) = E[x0 | x_s = x] for s from sigma_n down to sigma_min, x (b, ...), s (b,).
    y: (B, ...), the measurements, in the units and range in which the denoiser was trained.
    sigma_n: the noise's deviation in y, > 0, same units; a number or one per sample (B,).
    generator: source of every draw, on y's device. The same generator state and batch give the same samples.
    samples: S >= 1 draws for each y. steps: N >= 1 levels (see `schedule`).
    solver: default Heun(), 2 N - 1 evaluations of denoise a sample.
    schedule: (sigma_max, sigma_min, steps) -> levels, e.g. geometric, karras.
    sigma_min: last level above 0; default sigma_n / 100, where the missing variance is 1e-4 of sigma_n^2.
    batch: the most images denoised at once; it bounds the memory beside the result's own.
    progress: called as progress(done, all) after each step, over all batches.
    Returns (S, B, ...), on y's device. Raises UnveilError for sigma_n <= 0, samples or batch < 1, and what
    `Solver.solve` and `schedule` refuse.
    """
    _at_least_one(samples=samples, batch=batch)
    solver = Heun() if solver is None else solver
    sigma_n = per_sample(sigma_n, y, "sigma_n")
    if not bool((sigma_n > 0).all()):
        raise UnveilError(f"sigma_n is {float(sigma_n.min()):g}: it must be > 0; without noise y is its own sample")
    low = sigma_n / 100 if sigma_min is None else per_sample(sigma_min, y, "sigma_min")
    levels = schedule(sigma_n, low, steps)
    which = torch.arange(samples * len(y), device=y.device) % max(len(y), 1)
    parts = which.split(batch)
    out = torch.empty(samples * len(y), *y.shape[1:], dtype=y.dtype, device=y.device)
    for i, (part, slot) in enumerate(zip(parts, out.split(batch))):
        slot.copy_(solver.solve(denoise, y[part], levels[:, part], generator, share(progress, i, len(parts))))
    return out.reshape(samples, *y.shape)


@torch.no_grad()
def prior_samples(
    denoise: Denoise,
    shape: tuple[int, ...],
    sigma_max: float,
    *,
    trained_max: float,
    generator: torch.Generator,
    steps: int = 50,
    solver: Solver | None = None,
    schedule: Schedule = karras,
    sigma_min: float = 1e-3,
    mean: float = 0.5,
    batch: int = 64,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Tensor:
    """Draws of x ~ p(x), nearly, by the reverse diffusion from mean + sigma_max w to 0.

    denoise, solver, batch, progress: as `posterior_samples`.
    generator: source of every draw; the samples are on its device.
    shape: (S, ...), S samples of the signal's shape.
    sigma_max: first level, in data units, far above the signal's deviation (see the module).
    trained_max: the highest level the denoiser was trained at, >= sigma_max; inf for a closed form.
    steps, schedule, sigma_min: see `schedule`; sigma_min's default suits data in [0, 1].
    mean: the signal's mean, one number; the default suits data in [0, 1]. An error e in it leaves about
        e c / (c + sigma_max^2) in the samples' mean, c the signal's variance in that direction.
    dtype: of the samples.
    Returns (S, ...). Raises UnveilError if sigma_max > trained_max, batch < 1, and what `Solver.solve` and
    `schedule` refuse.
    """
    _at_least_one(batch=batch)
    if not sigma_max <= trained_max:
        raise UnveilError(
            f"sigma_max is {sigma_max:g} but the denoiser was trained up to {trained_max:g}: "
            "lower sigma_max or train at higher levels"
        )
    solver = Heun() if solver is None else solver
    levels = schedule(sigma_max, sigma_min, steps)
    out = torch.empty(shape, dtype=dtype, device=generator.device)
    slots = out.split(batch)
    for i, slot in enumerate(slots):
        x = mean + sigma_max * normal(slot, generator)
        slot.copy_(solver.solve(denoise, x, levels, generator, share(progress, i, len(slots))))
    return out


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UnveilError(f"{name} is {count}: it must be at least 1")


def share(progress: Progress | None, part: int, parts: int) -> Progress | None:
    """`progress` as seen by the solver of batch number `part`: its steps count among those of all batches."""
    if progress is None:
        return None
    return lambda done, total: progress(part * total + done, parts * total)
