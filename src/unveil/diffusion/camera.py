"""Going on with another instrument: an ideal camera, which sees what A does not.

The state is (y, x_t), x_t = x + t^(-1/2) w at exposure t of the camera, from t = 0, where it says nothing, to where it
says all. With f = E[x | y, x_t], of the measurement that lies beside the camera's (`unveil.operators.beside`), `go_on`
draws x ~ p(x | y) exactly as the steps get short, also of what A does not see. f must know such measurements: in closed
form, or as a network that has learned from draws (`unveil.training.looks`).
"""

import torch
from torch import Tensor

from unveil.measurement import Measurement
from unveil.noise.base import Noise
from unveil.noise.gaussian import Gaussian
from unveil.random import normal
from unveil.shapes import expand

__all__ = ["Camera"]


class Camera:
    """B = I, with white noise of level 1 at exposure 1: an `Instrument` for `go_on`.

    m: y, of the instrument that began. about: (B, *image), the mean of x_t at a first exposure t > 0 so low that p(x |
    y) is narrow against t^(-1/2); None: the exposures start at 0.
    """

    fresh = True

    def __init__(self, m: Measurement, about: Tensor | None = None) -> None:
        self.m = m
        self.about = about
        self.noise: Noise = Gaussian(torch.ones((), dtype=m.y.dtype, device=m.y.device))

    def start(self, t: Tensor, generator: torch.Generator) -> Tensor:
        if self.about is None:
            return self.m.operator.image(self.m.y)
        return self.about + expand(t**-0.5, self.about) * normal(self.about, generator)

    def B(self, x: Tensor) -> Tensor:
        return x

    def known(self, y_t: Tensor, t: Tensor) -> Measurement:
        return self.m.beside(y_t, t)
