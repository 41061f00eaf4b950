"""Equivariant splitting with an equivariant network: the mean over quarter turns of what any network makes of A T_g.

    f_G(y; A) = mean over g of T_g f(y; A T_g),     f_G(y; A T_h) = T_h^-1 f_G(y; A)  exactly

Under a loss of hidden entries an f_G has the supervised minimiser where M = E_g[T_g^T A^T A T_g] has full rank (Sechaud
et al. 2026, https://arxiv.org/abs/2510.00929). Four passes, in training and after it; `Symmetrize` of the recipe
equivariant-splitting takes one g at random instead.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from published import Setting
from unveil.losses import Hide, LogUniform, Recorruption, inverse_gradient_variance
from unveil.measurement import Measurement
from unveil.operators import Turned
from unveil.symmetry import Symmetry, make_symmetry

__all__ = ["Averaged", "learn"]


class Averaged(nn.Module):
    """f_G of any f, over a group of few elements."""

    def __init__(self, f: nn.Module, symmetry: Symmetry) -> None:
        super().__init__()
        self.f, self.symmetry = f, symmetry

    def forward(self, m: Measurement) -> Tensor:
        """Return x_hat (B, *image)."""
        like = m.operator.image(m.y)
        every = self.symmetry.elements(tuple(like.shape[1:]))
        assert every is not None
        turned = []
        for g in every.to(like)[:, None]:
            each = g.expand(len(like), -1)
            seen = replace(m, operator=Turned(m.operator, self.symmetry, each))
            turned.append(self.symmetry.apply(self.f(seen), each))
        return torch.stack(turned).mean(0)


def learn(estimator: nn.Module, setting: Setting) -> nn.Module:
    """Return f_G trained by hidden entries at higher levels, as the recipe equivariant-splitting is."""
    low, top = setting.config.loss.levels
    loss = Hide(Recorruption(LogUniform(max(1.2, low), top), inverse_gradient_variance), setting.config.loss.hidden)
    return setting.fit(Averaged(estimator, make_symmetry(["quarter"])), loss, setting.batches())
