"""Posterior samples of x under a learned prior: the denoiser of x that also knows y = A x + sigma_n n.

The image prior p(x) has the denoiser D(x_s, s) = E[x | x_s], x_s = x + s w. Given x_s, x has the covariance s^2 J,
J = dD/dx_s (Tweedie's formula, second order). Take p(x | x_s) for the Gaussian of these two moments. Then y is Gaussian given x_s, and

    E[x | x_s, y] = D + s^2 J^T A^T (sigma_n^2 I + A s^2 J^T A^T)^-1 (y - A D)

the denoiser of p(x | y): `prior_samples` with it draws x ~ p(x | y). This is moment-matching posterior sampling (Rozet,
Andry, Lanusse & Louppe 2024, https://arxiv.org/abs/2405.13712); exact for Gaussian p(x), otherwise an
approximation, good where p(x | x_s) is nearly Gaussian over the width that y leaves of it.

J^T v is one backward pass of D, and the system, of the size of y, is solved by a few steps of conjugate gradients
(Hestenes & Stiefel 1952, https://doi.org/10.6028/jres.049.044), from 0. In exact arithmetic as many steps suffice as
A s^2 J^T A^T has different eigenvalues. J is symmetric and positive for the exact denoiser, for a network nearly: where
a search direction p has p^T (...) p <= 0 the search ends for that sample, and what it has found stands.
"""

import torch
from torch import Tensor

from unveil.diffusion.dpm import DPM2M
from unveil.diffusion.sample import share
from unveil.diffusion.schedule import Schedule, geometric
from unveil.diffusion.solver import Denoise, Progress, Solver
from unveil.errors import UnveilError
from unveil.problem import Problem, Several
from unveil.random import normal
from unveil.shapes import expand, per_sample

__all__ = ["posterior_denoiser", "samples_under_prior"]


def posterior_denoiser(
    denoise: Denoise, problem: Problem, y: Tensor, sigma_n: float | Tensor, iterations: int = 3
) -> Denoise:
    """E[x | x_s, y] as a function of x_s (b, *image) and s (b,), for `prior_samples` or `Solver.solve`.

    denoise: D(x, s), of the image prior, differentiable in x: not wrapped in torch.no_grad.
    problem: A, of one operator, or of one for each row of y.
    y: (B, *measurement): one measurement, B = 1, for all samples of a batch, or one for each, b = B. sigma_n: > 0, its
        noise's deviation, a number or (B,), in units of y.
    iterations: K >= 1 of conjugate gradients; a call costs one pass of D and K backward passes.
    The result is cut from the graph. Raises UnveilError for sigma_n <= 0 or iterations < 1; when called, for x of another
    number of samples, and for a denoiser that cannot be differentiated.

    One draw for each measurement of a batch, the E step of EM, with images in [0, 1] and the prior's highest level 50:

        g = posterior_denoiser(denoise, problem.at(which), y[which], sigma_n)
        x = prior_samples(g, (len(which), *image), 50.0, trained_max=50.0, batch=len(which), generator=generator)
    """
    if iterations < 1:
        raise UnveilError(f"iterations is {iterations}: conjugate gradients need at least 1")
    sigma_n = per_sample(sigma_n, y, "sigma_n")
    if not bool((sigma_n > 0).all()):
        raise UnveilError(f"sigma_n is {float(sigma_n.min()):g}: it must be > 0; give the noise's standard deviation")
    y, variance = problem.project(y), expand(sigma_n**2, y)

    @torch.no_grad()
    def posterior(x: Tensor, s: Tensor) -> Tensor:
        if len(y) not in (1, len(x)):
            raise UnveilError(
                f"{len(x)} images for {len(y)} measurements: sample as many images at once as y has rows, or pass one row"
            )
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            prior = denoise(x, s)
        if not prior.requires_grad:
            raise UnveilError("the denoiser's output has no gradient in x: call the network outside torch.no_grad")
        correction = torch.zeros_like(x)
        r = y - problem.predict(prior.detach())
        p, square = r, _dot(r, r)
        for _ in range(iterations):
            (back,) = torch.autograd.grad(prior, x, problem.adjoint(p), retain_graph=True)
            moved = expand(s**2, x) * back  # s^2 J^T A^T p: the solution itself is not needed, only this of it
            q = variance * p + problem.predict(moved)
            curvature = _dot(p, q)
            positive = curvature > 0
            step = torch.where(positive, square / curvature, 0)
            correction = correction + expand(step, x) * moved
            r = r - expand(step, r) * q
            before, square = square, _dot(r, r)
            # p = 0 ends the search of a sample: at a zero residual, or when the curvature is not positive
            p = expand(positive, r) * (r + expand(square / before.clamp_min(torch.finfo(r.dtype).tiny), r) * p)
        return prior.detach() + correction

    return posterior


@torch.no_grad()
def samples_under_prior(
    denoise: Denoise,
    problem: Problem | Several,
    y: Tensor,
    sigma_n: float | Tensor,
    start: Tensor,
    sigma_max: float,
    *,
    generator: torch.Generator,
    samples: int = 16,
    steps: int = 25,
    solver: Solver | None = None,
    schedule: Schedule = geometric,
    sigma_min: float | Tensor | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Draws of x ~ p(x | y) under the learned prior, what A does not see included, from start + sigma_max w at sigma_max down.

    denoise: D(x, s) of the images, from sigma_max down to sigma_min, differentiable in x.
    problem: A; or `Several`, of as many operators as there are measurements. y: (B, *measurement) at sigma_n, a number or (B,).
    start: (B, *image), an estimate of x, such as f(y). sigma_max: several times the deviation of the images, against which
        p(x | y) is narrow: then where the diffusion starts does not matter.
    sigma_min: last level above 0; default sigma_n / 100. solver: default DPM2M(). The samples of a measurement are drawn at once.
    generator, steps, schedule, progress: as `posterior_samples`.
    Returns (S, B, *image). Raises what `posterior_denoiser`, `Solver.solve` and `schedule` raise.
    """
    solver = DPM2M() if solver is None else solver
    level = per_sample(sigma_n, y, "sigma_n")
    low = level / 100 if sigma_min is None else per_sample(sigma_min, y, "sigma_min")
    drawn = []
    for b in range(len(y)):
        part = problem.at(torch.tensor([b], device=y.device))
        given = posterior_denoiser(denoise, part, y[b : b + 1], level[b : b + 1])
        x = start[b].expand(samples, *start.shape[1:])
        x = x + sigma_max * normal(x, generator)
        drawn.append(
            solver.solve(given, x, schedule(sigma_max, float(low[b]), steps), generator, share(progress, b, len(y)))
        )
    return torch.stack(drawn, 1)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    """<u, v> (b,) of u and v (b, ...)."""
    return (u * v).flatten(1).sum(1)
