"""Learning, from images, the estimator of y with an ideal camera beside it.

With x ~ p(x | y) drawn, or clean, and T_g x as likely an image,

    |f(y', x_t) - T_g x|^2 / (n v_t^2),     y' ~ p(y | A T_g x),   x_t = T_g x + t^(-1/2) w,   v_t^2 = 1 / (t + 1 / v^2)

the level s = t^(-1/2) log-uniform from a few times the deviation v of images, where x_t says nothing, down to a small
part of the noise of y; at a share of the samples, `blind`, t = 0. The minimiser is E[x | y, x_t], with which going on
with a camera draws what A does not see (`unveil.diffusion.camera`). v_t^2 is what x_t leaves open of a white image: it
weighs all levels alike. (ours; the M step of Rozet, Andry, Lanusse and Louppe 2024, https://arxiv.org/abs/2405.13712,
for the posterior in place of the prior)
"""

import torch
from torch import Tensor

from unveil.measurement import Estimator, Measurement
from unveil.noise.base import Noise
from unveil.operators.base import Operator
from unveil.random import normal
from unveil.shapes import expand
from unveil.symmetry import Symmetry

__all__ = ["HIGHEST", "Looks", "lowest_look"]

HIGHEST = 4.0
"""Of the camera's levels, in deviations of the images: against it an image is narrow."""
LEAST = 0.005
"""Of the camera's levels, in deviations of the images: nobody sees what is below a third of a grey level."""
BLIND = 0.1
"""Share of the samples at t = 0, where draws tell more of x than measurements do."""


def lowest_look(m: Measurement, lowest: float, std: float, scale: float) -> Tensor:
    """Return the camera's last level (B,): `lowest` times that of y, in the units of the images, within reason."""
    return (lowest * m.level / scale).clamp(LEAST * std, HIGHEST * std / 2)


class Looks:
    """The loss (B,), in units of v_t^2, of images x (B, *image). One pass.

    std: v, of the images. lowest: of the camera's levels, as a multiple of that of y, in the units of the images.
    scale: the largest singular value of A. symmetry: T_g; None leaves x as it is. blind: share of the samples at t = 0.
    """

    passes = 1.0

    def __init__(
        self, std: float, lowest: float, scale: float = 1.0, symmetry: Symmetry | None = None, blind: float = BLIND
    ) -> None:
        self.std = std
        self.lowest = lowest
        self.scale = scale
        self.symmetry = symmetry
        self.blind = blind

    def __call__(self, f: Estimator, x: Tensor, operator: Operator, noise: Noise, generator: torch.Generator) -> Tensor:
        """Return the loss of fresh measurements; operator, noise: of one for all, or of B."""
        x = x if self.symmetry is None else self.symmetry.transform(x, generator)
        m = Measurement(noise.sample(operator.A(x), generator), operator, noise)
        high = HIGHEST * self.std
        low = lowest_look(m, self.lowest, self.std, self.scale)
        share, chance = torch.rand(2, len(x), generator=generator, device=x.device, dtype=x.dtype)
        s = low * (high / low) ** share
        t = torch.where(chance < self.blind, 0.0, s**-2)
        x_t = x + expand(s, x) * normal(x, generator)
        weight = t + self.std**-2
        return weight * (f(m.beside(x_t, t)) - x).square().flatten(1).mean(1)
