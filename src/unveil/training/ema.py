"""The moving average of the weights, on torch's AveragedModel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged"]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Make the moving average theta_bar of the weights theta of `model`.

        theta_bar <- theta_bar + (1 - d) (theta - theta_bar),    d = min(decay, (1 + n) / (10 + n)) after n updates

    The decay grows with n so that the first, poor weights are soon forgotten.
    """
    return AveragedModel(model, multi_avg_fn=_update(decay))


def _update(decay: float) -> Callable[..., None]:
    @torch.no_grad()
    def update(mean: tuple[Tensor, ...], current: tuple[Tensor, ...], updates: Tensor | int) -> None:
        n = float(updates)
        torch._foreach_lerp_(list(mean), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    return update
