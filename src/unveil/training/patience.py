"""Early stopping: an end to a training that has stopped gaining, and the averaged weights of its best point.

    D +- q se(D) = the gain over the last `patience` validations, paired;    no gain is shown where D <= q se(D)

with q of a one-sided level of 97.5%. The best point is that of the lowest mean error; which of several alike it is, is
chance, and does not matter.
"""

import copy

import torch
from torch import nn

from unveil.errors import warn
from unveil.training.curve import FEWEST, Curve

__all__ = ["Patience"]


class Patience(nn.Module):
    """The best averaged estimator so far, and whether to go on. validations: without a gain, after which it ends."""

    def __init__(self, validations: int, averaged: nn.Module) -> None:
        super().__init__()
        self.validations = validations
        self.best = copy.deepcopy(averaged)
        self.warned = False

    @torch.no_grad()
    def follow(self, curve: Curve, averaged: nn.Module) -> None:
        """Keep the averaged estimator as the best one where the newest point of the curve is the lowest."""
        errors = curve.judged.mean(1)
        if int(errors.argmin()) == len(errors) - 1:
            self.best.load_state_dict(averaged.state_dict())

    def ends(self, curve: Curve) -> bool:
        """Return whether the last validations show no gain."""
        if len(curve) <= self.validations:
            return False
        if curve.judged.shape[1] < FEWEST:
            if not self.warned:
                warn("training.patience: fewer than 3 held-out measurements tell no gain, so that training goes on")
            self.warned = True
            return False
        gain = curve.gain(-1 - self.validations, -1)
        return gain.value <= gain.reach
