"""By how much would the estimate differ, were the measurement repeated? A map, in the units of x.

    var(f(y))_i  =  sum_jk J_ij C_jk J_ik  to first order,      J = df / dy

Pseudo-replicas draw it: measurements with noise drawn once more, each reconstructed (Robson et al. 2008,
https://doi.org/10.1002/mrm.21728, whose g-factor and signal-to-noise maps are of this). The probes that tell the error
(`unveil.evaluation.risk`) are such replicas already, with a small share of the noise's covariance, so that the network
is looked at where it is: for linear f the two have one mean. 8 of them tell a pixel's deviation to a quarter, and the
mean of their squares over the WINDOW x WINDOW pixels about it to a twentieth or so.

It is the noise in the estimate, not its error: what f is sure of and wrong about does not move.
`unveil.evaluation.fields.gfactor` makes the maps of MRI of it.
"""

from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.evaluation.risk import Risk

__all__ = ["local", "noise_deviation", "variances"]

WINDOW = 5
"""Pixels."""


def noise_deviation(risk: Risk) -> Tensor | None:
    """Return the deviation (H, W) of the estimate over the noise, by the risk of a batch of one; None of no images.

    Of colours the root mean square of theirs; of complex images that of both parts together.
    """
    halves = variances(risk)
    return None if halves is None else local(halves).mean(0).sqrt()


def variances(risk: Risk) -> Tensor | None:
    """Return the variance (2, H, W) of each pixel by either half of the probes; see `noise_deviation`."""
    if risk.moved is None or risk.moved.ndim != 5:
        return None
    each = risk.moved[:, 0].detach().cpu()
    return each.sum(1) if each.shape[1] == 2 else each.mean(1)


def local(variance: Tensor) -> Tensor:
    """Return the mean (N, H, W) of `variance` (N, H, W) over the window about each pixel."""
    size = min(WINDOW, *(side if side % 2 else side - 1 for side in variance.shape[1:]))
    return avg_pool2d(variance, size, 1, size // 2, count_include_pad=False)
