"""Equivariant imaging: what A does not see is learned from the symmetry of the signals.

If T_g x is as likely a signal as x, then f must reconstruct it as well as x. With x_hat = f(y) in x's place,

    |T_g x_hat - f(A T_g x_hat + sigma w)|^2 / n,     g from the group, w ~ N(0, I) fresh

(Chen, Tachella and Davies 2021, https://arxiv.org/abs/2103.14756; with noise: Chen, Tachella and Davies 2022,
https://arxiv.org/abs/2111.12855). Where each measurement has an operator of its own, another one's A measures
T_g x_hat: any operator of the data set is as likely (multi-operator imaging, Tachella, Chen and Davies 2022,
https://arxiv.org/abs/2201.12151). It supplements a loss, and is none itself: f = 0 has none. x_hat is an average over
the posterior, smoother than a signal, so this term pulls towards smooth images; its weight and the path of its gradient
matter.

Where A saw nothing of x, x_hat is the network's own guess, and teaching it to f only confirms it: of an eighth of
k-space each pass learns the truth about an eighth of what was unseen, and the present guess about the rest. Judged by

    |A T_g^-1 (T_g x_hat - f(A T_g x_hat + sigma w))|^2 / m

f learns from those directions of T_g x_hat alone that A did see before they were turned away from it. (ours)

Where images cannot be negative, max(x_hat, 0) is nearer to x in every pixel, and stands in x_hat's place: a projection
on what is known of x (Youla and Webb 1982, https://doi.org/10.1109/TMI.1982.4307555), of the target, so that f is
taught it and stays as near to the data as it was.
"""

from dataclasses import replace

import torch
from torch import Tensor

from unveil.losses.base import Loss
from unveil.measurement import Estimator, Measurement
from unveil.symmetry import Symmetry

__all__ = ["Equivariance"]


class Equivariance(Loss):
    """The squared error of f on virtual measurements of T_g f(y), (B,).

    In squared units of x, or of y where only the seen part counts; 0 where A leaves nothing out, so that there is
    nothing to be learned from it.

    symmetry: T_g. detach: x_hat is a fixed target, and only the second pass learns; otherwise the gradient flows
    through both. seen: judge f by the second formula, along what A saw of f(y); T_g^T stands for T_g^-1. nonnegative:
    max(f(y), 0) in the place of f(y). The virtual measurement of a sample is by the operator of the next in the batch.
    """

    def __init__(self, symmetry: Symmetry, detach: bool = True, seen: bool = False, nonnegative: bool = False) -> None:
        self.symmetry = symmetry
        self.detach = detach
        self.seen = seen
        self.nonnegative = nonnegative
        self.passes = 4 / 3 if detach else 2

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        if not m.operator.unseen:
            return m.y.new_zeros(len(m))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach):
            x_hat = f(m)
            if self.nonnegative:
                x_hat = x_hat.clamp(min=0)
            g = self.symmetry.draw(x_hat, generator)
            x = self.symmetry.apply(x_hat, g)
        virtual = m.operator.select(torch.arange(len(m), device=m.y.device).roll(1))
        again = f(replace(m, y=m.noise.sample(virtual.A(x), generator), operator=virtual))
        error = again - x
        if not self.seen:
            return error.square().flatten(1).mean(1)
        return m.mean_square(m.predict(self.symmetry.adjoint(error, g)))
