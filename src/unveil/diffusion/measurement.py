"""Samples of x given y = A x + sigma_n n, by a reverse diffusion in measurement space.

    f_s(y) = E[x | A x + s e = y]                             an estimator trained at all levels s <= sigma_n
    D(y, s) = A f_s(y) = E[u | u + s e = y],  u = A x         so A f_s is the MMSE denoiser of u
    u_{sigma_n} = y  ->  ...  ->  u_{s_min}                   the reverse diffusion of u, by D
    x = f_{s_min}(u_{s_min})                                  in place of its last step, D = A f

The last line makes A x the sample of u that the diffusion ends in: u ~ p(u | y), and x = E[x | u].

If A is one-to-one on the set of signals, u determines x, and x ~ p(x | y). If it is not, then since x and y are independent
given u

    E x = E[E[x | u] | y] = E[x | y]                          the mean is right
    Cov x = Cov(x | y) - E[Cov(x | u) | y]                    the spread lacks what u leaves open about x

so the samples vary too little exactly where A does not see; `unveil.diffusion.posterior_denoiser` draws that part too.
Of a variance c of u given y the end at s_min keeps the share c / (c + s_min^2), in x as in u: sigma_min must be far below
the deviation in u of what matters in x.

Entries that are not measured are no part of u: the solvers draw noise on them as on all others, and D neither reads nor
returns it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.diffusion.sample import posterior_samples
from unveil.diffusion.schedule import Level, Schedule, geometric, karras
from unveil.diffusion.solver import Denoise, Progress, Solver
from unveil.errors import UnveilError
from unveil.problem import Problem, Several
from unveil.random import normal
from unveil.shapes import per_sample

__all__ = ["measurement_denoiser", "reconstruction_prior_samples", "reconstruction_samples"]


def measurement_denoiser(f: Denoise, problem: Problem) -> Denoise:
    """D(u, s) = A f(u, s) (b, *measurement): reads the measured entries of u alone, and is zero on the others.

    f: f(y, s) = E[x | A x + s e = y], y (b, *measurement), s (b,), x (b, *image).
    problem: A, of one operator, or of one operator for each sample of the batches that D will be called with.
    """
    return lambda u, s: problem.predict(f(problem.project(u), s))


@torch.no_grad()
def reconstruction_samples(
    f: Callable[..., Tensor],
    problem: Problem | Several,
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
    """Draws of x given y = A x + sigma_n n: of p(x | y) if A is one-to-one on the signals, else see the module.

    f: f(y, s) for s from sigma_n down to sigma_min. With `Several` it is called as f(y, s, problem), with the problem of
        just those measurements.
    problem: A; or `Several`, of as many operators as there are measurements, the b-th that of y[b] (see `Several.subset`).
    y: (B, *measurement), in the units in which f was trained.
    sigma_n: the noise's deviation in y, > 0, same units; a number or one per sample (B,).
    steps: N >= 2 levels (see `schedule`); the last is that of f's final reconstruction.
    sigma_min: last level, same units as y; default sigma_n / 100.
    generator, samples, solver, schedule, batch, progress: as `posterior_samples`.
    Returns (S, B, *image), on y's device. Raises UnveilError for samples or batch < 1, steps < 2, another number of
    operators than of measurements, and what `posterior_samples` refuses.
    """
    _check(problem, y, samples, batch, steps)
    sigma_n = per_sample(sigma_n, y, "sigma_n")
    low = sigma_n / 100 if sigma_min is None else per_sample(sigma_min, y, "sigma_min")
    which = torch.arange(samples * len(y), device=y.device) % max(len(y), 1)
    parts = which.split(batch)
    image = y.shape[1:] if problem.image_shape is None else problem.image_shape
    out = torch.empty(samples * len(y), *image, dtype=y.dtype, device=y.device)
    for i, (part, slot) in enumerate(zip(parts, out.split(batch))):
        g, local = _of_rows(f, problem, part)
        u = posterior_samples(
            measurement_denoiser(g, local), y[part], sigma_n[part], generator=generator, samples=1, steps=steps,
            solver=solver, schedule=_above_zero(schedule), sigma_min=low[part], batch=len(part),
            progress=_share(progress, i, len(parts), steps),
        )[0]  # fmt: skip
        slot.copy_(g(local.project(u), low[part]))
        if progress is not None:
            progress((i + 1) * steps, len(parts) * steps)
    return out.reshape(samples, len(y), *image)


@torch.no_grad()
def reconstruction_prior_samples(
    f: Callable[..., Tensor],
    problem: Problem | Several,
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
    """Draws of x ~ p(x), nearly: `reconstruction_samples` started from noise, mean A 1 + sigma_max w.

    shape: (S, *measurement), S samples; with `Several` S is the number of operators, and sample b is that of the b-th.
    sigma_max: first level, in units of y, far above the deviation of A x (see `unveil.diffusion.sample`).
    trained_max: the highest level f was trained at, >= sigma_max; inf for a closed form.
    mean: the image's mean, one number; the default suits images in [0, 1].
    dtype: of the samples; they are on the generator's device. sigma_min's default suits y of about [0, 1].
    The rest, and what it raises: as `reconstruction_samples`; also for sigma_max > trained_max.
    Returns (S, *image).
    """
    if not sigma_max <= trained_max:
        raise UnveilError(
            f"sigma_max is {sigma_max:g} but f was trained up to {trained_max:g}: lower sigma_max or train at higher levels"
        )
    start = torch.empty(shape, dtype=dtype, device=generator.device)
    _check(problem, start, 1, batch, steps)
    for part, slot in zip(torch.arange(len(start), device=start.device).split(batch), start.split(batch)):
        slot.copy_(mean * problem.at(part).ones(slot) + sigma_max * normal(slot, generator))
    return reconstruction_samples(
        f, problem, start, sigma_max, generator=generator, samples=1, steps=steps, solver=solver,
        schedule=schedule, sigma_min=sigma_min, batch=batch, progress=progress,
    )[0]  # fmt: skip


def _of_rows(f: Callable[..., Tensor], problem: Problem | Several, rows: Tensor) -> tuple[Denoise, Problem]:
    """f(y, s) and the problem of the measurements numbered `rows` (b,): the two agree on which operator is whose."""
    local = problem.at(rows)
    return (lambda y, s: f(y, s, local)) if isinstance(problem, Several) else f, local


def _above_zero(schedule: Schedule) -> Schedule:
    """`schedule` without its last level, 0: f takes the step there."""

    def levels(sigma_max: Level, sigma_min: Level, steps: int) -> Tensor:
        return schedule(sigma_max, sigma_min, steps)[:-1]

    return levels


def _share(progress: Progress | None, part: int, parts: int, steps: int) -> Progress | None:
    """`progress` as seen by the solver of batch number `part`, whose last step of `steps` is f's."""
    return None if progress is None else lambda done, _: progress(part * steps + done, parts * steps)


def _check(problem: Problem | Several, y: Tensor, samples: int, batch: int, steps: int) -> None:
    if min(samples, batch) < 1 or steps < 2:
        raise UnveilError(
            f"samples is {samples}, batch {batch} and steps {steps}: samples and batch must be at least 1, steps 2"
        )
    if isinstance(problem, Several):
        if len(problem) != len(y):
            raise UnveilError(
                f"the problem has {len(problem)} operators for {len(y)} measurements: pass problem.subset(...) of these"
            )
    elif problem.measured is not None and problem.measured.ndim == y.ndim and len(problem.measured) > 1:
        raise UnveilError(
            f"the problem is that of one batch of {len(problem.measured)}, which is split: pass the `Several` it came from"
        )
