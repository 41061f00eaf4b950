"""Equivariant imaging: what A does not see is learned from the symmetry of the signals.

If T_g x is as likely a signal as x, then f must reconstruct it as well as x. With x_hat = f(y) in x's place,

    |T_g x_hat - f(A T_g x_hat + sigma w, sigma)|^2 / n,     g from the group, w ~ N(0, I) fresh

(Chen, Tachella and Davies 2021, https://arxiv.org/abs/2103.14756; with noise: Chen, Tachella and Davies 2022,
https://arxiv.org/abs/2111.12855). Where each measurement has an operator of its own, another one's A can measure T_g x_hat: any
operator of the data set is as likely (multi-operator imaging, Tachella, Chen and Davies 2022, https://arxiv.org/abs/2201.12151). It supplements a risk, and is none itself: f = 0 has none. x_hat is an average over the
posterior, smoother than a signal, so this term pulls towards smooth images; its weight and the path of its gradient matter.

Where A saw nothing of x, x_hat is the network's own guess, and teaching it to f only confirms it: of an eighth of k-space each pass
learns the truth about an eighth of what was unseen, and the present guess about the rest. Judged by

    |A T_g^-1 (T_g x_hat - f(A T_g x_hat + sigma w, sigma))|^2 / m

f learns from those directions of T_g x_hat alone that A did see before they were turned away from it. (ours)
"""

import torch
from torch import Tensor

from unveil.problem import DENOISING, Problem
from unveil.random import normal
from unveil.risks.base import Estimator, Risk
from unveil.shapes import expand
from unveil.symmetry import Symmetry

__all__ = ["Equivariance"]


class Equivariance(Risk):
    """The squared error of f on virtual measurements of T_g f(y), (B,) in squared units of x, or of y where only the seen part counts.

    symmetry: T_g. detach: x_hat is a fixed target, and only the second pass learns; otherwise the gradient flows through both.
    virtual: A of the virtual measurements, which f is told as a third argument; None: the problem's own.
    seen: judge f by the second formula, along what A saw of f(y); T_g^T stands for T_g^-1.
    """

    def __init__(
        self,
        symmetry: Symmetry,
        problem: Problem = DENOISING,
        detach: bool = True,
        virtual: Problem | None = None,
        seen: bool = False,
    ) -> None:
        super().__init__(problem)
        self.seen = seen
        self.virtual = virtual
        self.symmetry = symmetry
        self.detach = detach
        self.passes = 4 / 3 if detach else 2

    def __call__(self, f: Estimator, y: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach):
            x_hat = f(y, sigma)
            g = self.symmetry.draw(x_hat, generator)
            x = self.symmetry.apply(x_hat, g)
        virtual = self.virtual or self.problem
        u = virtual.predict(x)
        u = u + virtual.project(expand(sigma, u) * normal(u, generator))
        again = f(u, sigma) if self.virtual is None else f(u, sigma, virtual)  # type: ignore[call-arg]
        error = again - x
        if not self.seen:
            return error.square().flatten(1).mean(1)
        return self.mean_square(self.problem.predict(self.symmetry.adjoint(error, g)))
