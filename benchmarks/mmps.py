"""Posterior samples of x under a learned prior: the estimator of x that also knows y = A x + sigma n.

The image prior p(x) has the denoiser D(x_t) = E[x | x_t], x_t = x + s w. Given x_t, x has the covariance s^2 J,
J = dD/dx_t (Tweedie's formula, second order). Take p(x | x_t) for the Gaussian of these two moments. Then y is Gaussian
given x_t, and

    E[x | x_t, y] = D + s^2 J^T A^T (sigma^2 I + A s^2 J^T A^T)^-1 (y - A D)

with which going on with a camera draws x ~ p(x | y). This is moment-matching posterior sampling (Rozet,
Andry, Lanusse & Louppe 2024, https://arxiv.org/abs/2405.13712); exact for Gaussian p(x), otherwise an
approximation, good where p(x | x_t) is nearly Gaussian over the width that y leaves of it.

J^T v is one backward pass of D, and the system, of the size of y, is solved by a few steps of conjugate gradients
(Hestenes & Stiefel 1952, https://doi.org/10.6028/jres.049.044), from 0. In exact arithmetic as many steps suffice as
A s^2 J^T A^T has different eigenvalues. J is symmetric and positive for the exact denoiser, for a network nearly: where
a search direction p has p^T (...) p <= 0 the search ends for that sample, and what it has found stands.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.diffusion import Camera, Progress, Schedule, go_on, karras
from unveil.errors import UnveilError
from unveil.measurement import Estimator, Measurement
from unveil.noise.gaussian import Gaussian
from unveil.operators.beside import Beside
from unveil.operators.identity import Identity
from unveil.shapes import expand

__all__ = ["UnderPrior", "samples_under_prior"]


@dataclass(frozen=True)
class UnderPrior:
    """f(m) = E[x | x_t, y] of a measurement y with a camera's x_t beside it (`Camera`), cut from the graph.

    denoise: D, an estimator of images in white noise, differentiable: not wrapped in torch.no_grad.
    iterations: K >= 1 of conjugate gradients; a call costs one pass of D and K backward passes.
    Raises UnveilError for iterations < 1, and when called, for a denoiser that cannot be differentiated, and an
    exposure of 0.
    """

    denoise: Estimator
    iterations: int = 3

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise UnveilError(f"iterations is {self.iterations}: conjugate gradients need at least 1")

    @torch.no_grad()
    def __call__(self, m: Measurement) -> Tensor:
        operator = m.operator
        if not isinstance(operator, Beside):
            raise UnveilError("under a prior x is drawn by going on with a camera: give measurements that Camera makes")
        if not bool((operator.root > 0).all()):
            raise UnveilError("at exposure 0 the level of the camera is infinite: start it at an exposure > 0")
        y, scaled = operator.parts(m.y)
        s = 1 / operator.root.expand(len(y))
        A, variance = operator.operator, operator.parts(m.noise.estimated_variance(m.y))[0]
        with torch.enable_grad():
            x_t = (expand(s, scaled) * scaled).requires_grad_()
            prior = self.denoise(Measurement(x_t, Identity(), Gaussian(s)))
        if not prior.requires_grad:
            raise UnveilError("the denoiser's output has no gradient in x: call the network outside torch.no_grad")
        correction = torch.zeros_like(x_t)
        r = y - A.A(prior.detach())
        p, square = r, _dot(r, r)
        for _ in range(self.iterations):
            (back,) = torch.autograd.grad(prior, x_t, A.A_adjoint(p), retain_graph=True)
            moved = expand(s**2, x_t) * back  # s^2 J^T A^T p: the solution itself is not needed, only this of it
            q = variance * p + A.A(moved)
            curvature = _dot(p, q)
            positive = curvature > 0
            step = torch.where(positive, square / curvature, 0)
            correction = correction + expand(step, x_t) * moved
            r = r - expand(step, r) * q
            before, square = square, _dot(r, r)
            # p = 0 ends the search of a sample: at a zero residual, or when the curvature is not positive
            p = expand(positive, r) * (r + expand(square / before.clamp_min(torch.finfo(r.dtype).tiny), r) * p)
        return prior.detach() + correction


@torch.no_grad()
def samples_under_prior(
    denoise: Estimator,
    m: Measurement,
    about: Tensor,
    highest: float,
    generator: torch.Generator,
    *,
    samples: int = 8,
    steps: int = 25,
    schedule: Schedule = karras,
    lowest: float = 0.05,
    progress: Progress | None = None,
) -> Tensor:
    """Draw samples (S, B, *image) of x ~ p(x | y) under the learned prior, what A does not see included.

    denoise: as in `UnderPrior`, at levels from `highest` down to lowest times that of y. about: (B, *image), an
    estimate of x, such as f(m). highest: the camera's first level, several times the deviation of the images: p(x | y)
    is narrow against it, and then where it starts does not matter. The samples of a measurement are drawn at once.
    Others: as `posterior_samples`. Raises what `UnderPrior`, `go_on` and `schedule` raise.
    """
    f, drawn = UnderPrior(denoise), []
    for b in range(len(m)):
        part = m[torch.full((samples,), b, device=m.y.device)]
        last = lowest * float(part.level[0])
        exposures = schedule(last / highest, steps) / highest**2
        start = about[b].expand(samples, *about.shape[1:])

        def show(done: int, total: int, b: int = b) -> None:
            if progress is not None:
                progress(b * steps + done, len(m) * steps)

        on = go_on(f, part, exposures, generator, instrument=Camera(part, start), progress=show)
        drawn.append(f(on))
        show(steps, steps)
    return torch.stack(drawn, 1)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    """Return <u, v> (b,) of u and v (b, ...)."""
    return (u * v).flatten(1).sum(1)
