"""By how much would the estimate differ, were the measurement repeated? A map, in the units of x.

    var(f(y))_i  =  sum_jk J_ij C_jk J_ik  to first order,      J = df / dy

Pseudo-replicas draw it: measurements with noise drawn once more, each reconstructed (Robson et al. 2008,
https://doi.org/10.1002/mrm.21728, whose g-factor and signal-to-noise maps are of this). The probes that tell the error
(`unveil.evaluation.risk`) are such replicas already, with a small share of the noise's covariance, so that the network
is looked at where it is: for linear f the two have one mean. 8 of them tell a pixel's deviation to a quarter, and the
mean of their squares over the WINDOW x WINDOW pixels about it to a twentieth or so.

It is the noise in the estimate, not its error: what f is sure of and wrong about does not move. A g-factor is this
deviation over that of the same scan without undersampling, times the root of the share of k-space that was measured.
"""

from torch import Tensor
from torch.nn.functional import avg_pool2d

from unveil.evaluation.risk import Risk

__all__ = ["noise_deviation"]

WINDOW = 5
"""Pixels."""


def noise_deviation(risk: Risk) -> Tensor | None:
    """Return the deviation (H, W) of the estimate over the noise, by the risk of a batch of one; None of no images.

    Of colours the root mean square of theirs; of complex images that of both parts together.
    """
    if risk.moved is None or risk.moved.ndim != 4:
        return None
    variance = risk.moved[0].detach().cpu()
    together = variance.sum(0) if len(variance) == 2 else variance.mean(0)
    size = min(WINDOW, *(side if side % 2 else side - 1 for side in together.shape))
    return avg_pool2d(together[None], size, 1, size // 2, count_include_pad=False)[0].sqrt()
