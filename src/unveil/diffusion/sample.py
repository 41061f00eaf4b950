"""Posterior samples: the measurement goes on until it says all, and f reads it.

    y = y_1  ->  ...  ->  y_T,     x = f(y_T)

The last line makes A x the sample of u = A x that the measurement ends in: u ~ p(u | y), and x = E[x | u]. If A is
one-to-one on the set of signals, u determines x, and x ~ p(x | y). If it is not, then since x and y are independent
given u

    E x = E[E[x | u] | y] = E[x | y]                          the mean is right
    Cov x = Cov(x | y) - E[Cov(x | u) | y]                    the spread lacks what u leaves open about x

so the samples vary too little exactly where A does not see. Of a variance c of u given y the end at level s = sigma
T^(-1/2) keeps the share c / (c + s^2): `lowest` must make s far smaller than the deviation in u of what matters in x.

A network that knows an ideal camera beside y goes on with that instead (`unveil.diffusion.camera`), from t = 0, and the
samples spread where A does not see as well: `samples_by_camera`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.diffusion.camera import Camera
from unveil.diffusion.go_on import Progress, go_on
from unveil.diffusion.schedule import Schedule, karras
from unveil.errors import UnveilError
from unveil.losses.looks import HIGHEST, lowest_look
from unveil.measurement import Estimator, Measurement

__all__ = ["posterior_samples", "samples_by_camera"]


@torch.no_grad()
def posterior_samples(
    f: Estimator,
    m: Measurement,
    generator: torch.Generator,
    *,
    samples: int = 8,
    steps: int = 25,
    schedule: Schedule = karras,
    lowest: float = 0.05,
    inflation: float = 0.0,
    batch: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Draw samples (S, B, *image) of x ~ p(x | y) where A is one-to-one on the signals, else see the module.

    f: f(m) = E[x | y] for measurements at exposures from 1 to lowest^-2.
    m: (B, *measurement). generator: source of every draw, on y's device. The same state and batch give the same
    samples.
    samples: S >= 1 draws for each y. steps: N >= 1 evaluations of f a sample, at the exposures of `schedule`.
    lowest: the last level, as a multiple of the measured one. inflation: see `go_on`.
    batch: the most samples drawn at once; it bounds the memory beside the result's own.
    progress: called as progress(done, all) after each evaluation, over all batches.
    Raises UnveilError for samples or batch < 1, and what `go_on` and `schedule` refuse.
    """
    exposures = schedule(lowest, steps)
    return _drawn(
        lambda some, show: f(go_on(f, some, exposures, generator, inflation=inflation, progress=show)),
        m,
        samples,
        steps,
        batch,
        progress,
    )


@torch.no_grad()
def samples_by_camera(
    f: Estimator,
    m: Measurement,
    std: float,
    generator: torch.Generator,
    *,
    scale: float = 1.0,
    samples: int = 8,
    steps: int = 25,
    schedule: Schedule = karras,
    lowest: float = 0.05,
    batch: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Draw samples (S, B, *image) of x ~ p(x | y), what A does not see included, by going on with an ideal camera.

    f: E[x | y, x_t] of measurements with a camera beside them (`Measurement.beside`), from t = 0 on. std: the deviation
    v of the images. scale: the largest singular value of A. lowest: the camera's last level, as a multiple of that of
    y in the units of the images, and not far below what can be seen. Others, and raised: as in `posterior_samples`.
    """
    high = HIGHEST * std
    last = float(lowest_look(m, lowest, std, scale).min())
    looks = schedule(last / high, max(steps - 1, 1)) / high**2
    exposures = torch.cat([looks.new_zeros(1), looks])
    return _drawn(
        lambda some, show: f(go_on(f, some, exposures, generator, instrument=Camera(some), progress=show)),
        m,
        samples,
        steps,
        batch,
        progress,
    )


def _drawn(
    draw: Callable[[Measurement, Progress | None], Tensor],
    m: Measurement,
    samples: int,
    steps: int,
    batch: int,
    progress: Progress | None,
) -> Tensor:
    """Return (S, B, *image) of `draw`, which is given at most `batch` measurements at once."""
    if min(samples, batch) < 1:
        raise UnveilError(f"samples is {samples} and batch {batch}: both must be at least 1")
    drawn = []
    parts = (torch.arange(samples * len(m), device=m.y.device) % max(len(m), 1)).split(batch)
    for i, part in enumerate(parts):
        drawn.append(draw(m[part], _share(progress, i * steps, len(parts) * steps)))
        if progress is not None:
            progress((i + 1) * steps, len(parts) * steps)
    x = torch.cat(drawn)
    return x.reshape(samples, len(m), *x.shape[1:])


def _share(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return `progress` as seen by one batch, before which so many evaluations were made."""
    return None if progress is None else lambda done, _: progress(before + done, total)
