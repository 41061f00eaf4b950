"""The samples that are shown, given all of the exposure, beside the error of the estimate: entry by entry.

Nothing is left of the exposure to predict, but Stein's identity holds entry by entry: with r = y - h, h = A f(y),

    E (u_i - h_i)^2 = E [r_i^2 - v_i + 2 p_i],      E p_i = E (y_i - u_i) h_i

p by the probes that tell the error of the whole (`unveil.evaluation.risk`). Exact samples have the variance of that
mean, in each block of an image. The noise of r^2 hides it much more than it does in a view of a ninth of the exposure:
of an error that is a tenth of the noise's variance, 3 images of 180 x 180 pixels tell the ratio to 5%.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.evaluation.calibration import posterior_variance
from unveil.evaluation.risk import Risk
from unveil.measurement import Measurement

__all__ = ["Shown", "shown_samples"]


@dataclass(frozen=True)
class Shown:
    """Of one measurement, by entry (*measurement), on the CPU.

    residual: y - h. beside: v - 2 p, by which the variance of the residual is above that of the error. noise: v, taken
    at h. spread: the variance of samples of u. brightness: h. measured: boolean, or None: all.
    """

    residual: Tensor
    beside: Tensor
    noise: Tensor
    spread: Tensor
    brightness: Tensor
    measured: Tensor | None

    @property
    def square(self) -> Tensor:
        """Return an unbiased estimate of the squared error, which scatters much."""
        return self.residual.square() - self.beside


@torch.no_grad()
def shown_samples(m: Measurement, x_hat: Tensor, samples: Tensor, risk: Risk) -> Shown | None:
    """Return samples (S, 1, *image), S >= 2, of a batch m of one beside the error of x_hat (1, *image)."""
    if risk.products is None:
        return None
    h = m.predict(x_hat)
    spread = posterior_variance(torch.stack([m.predict(x) for x in samples]))
    beside = m.noise.estimated_variance(m.y) - 2 * risk.products
    mask = None if m.operator.measured is None else m.operator.measured.expand_as(m.y)[0].cpu()
    residual, noise = m.y - h, m.noise.variance(h).clamp_min(0)
    return Shown(residual[0].cpu(), beside[0].cpu(), noise[0].cpu(), spread[0].cpu(), h[0].cpu(), mask)
