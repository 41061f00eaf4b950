"""Weighted SSDU: the loss on hidden entries of k-space, weighted so that rarely measured ones count as much as others.

Entry j is measured with probability p_j, and of those measured the network is shown a share q:

    |(1 - K)^(-1/2) M_hidden (A f(y_shown) - y)|^2,     1 - K_j = p_j (1 - q) / (1 - q p_j)

1 - K_j is the probability that an entry that is not shown is measured, and hidden: in the mean over masks each entry
that is not shown counts once, whatever p_j (Millard and Chiew 2023, https://doi.org/10.1109/TCI.2023.3299212). Entries
that are shown count once too, judged by recorruption so that their noise is not learned along: their robust form (2024,
https://doi.org/10.3390/bioengineering11121305), whose factor (1 + a^2) / a^2 and correction at inference are the same
loss (`unveil.losses.recorruption`). Under one mask for all every p_j is 0 or 1 and every weight 1.
"""

import torch
from torch import Tensor, nn

from published import Setting
from unveil.losses import Hide, LogUniform, Loss, inverse_gradient_variance
from unveil.measurement import Estimator, Measurement

__all__ = ["WeightedSplitting", "learn"]

HIDDEN = 0.4


class WeightedSplitting(Loss):
    """The loss (B,) of f that is shown 1 - `hidden` of the places, at a higher level. p: (1, 1, H, W), see the module.

    One pass.
    """

    def __init__(self, p: Tensor, hidden: float = HIDDEN) -> None:
        shown = 1 - hidden
        self.inverse = (1 - shown * p) / (p.clamp_min(torch.finfo(p.dtype).tiny) * hidden)
        self.hide = Hide(self, hidden, keep=0.0)  # which draws what is shown
        self.ratio = LogUniform(1.2, 3.0)

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        axes = m.operator.hidden_axes()
        assert axes is not None
        shown = self.hide.shown(m.y, axes, generator)
        t = self.ratio(m.level, generator) ** -2
        view, rest = m.recorrupt(t, generator)
        residual = (rest.y - m.predict(f(view.hide(shown)))).square()
        weight = torch.where(shown, 1.0, self.inverse.to(residual))
        return inverse_gradient_variance(view, t) * m.operator.mean(weight * residual)


def learn(estimator: nn.Module, setting: Setting) -> nn.Module:
    """Return the network trained by this loss, p the share of the measurements that have an entry."""
    measured = setting.data.operator.measured
    assert measured is not None
    return setting.fit(estimator, WeightedSplitting(measured.float().mean(0, keepdim=True)), setting.batches())
