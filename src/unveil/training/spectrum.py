"""EM for the spectrum of the stationary prior, from measurements alone."""

import math
from collections.abc import Callable

import torch

from unveil.dataset import Dataset
from unveil.estimators import Stationary
from unveil.random import make_generator
from unveil.training.interrupt import stop_on_interrupt

__all__ = ["learn_spectrum"]

ROUNDS = 16
"""Of EM: later rounds gain little. From 1 / |k|^2 most is gained in the first few."""
MOST, LEAST, PIXELS = 64, 4, 2**20
"""Measurements in a round: as many as have so many pixels together, between these."""


@torch.no_grad()
def learn_spectrum(
    prior: Stationary,
    data: Dataset,
    *,
    seed: int = 0,
    progress: Callable[[int, int, dict[str, float]], object] | None = None,
) -> None:
    """Learn `prior.spectrum` from measurements: 16 rounds of EM, on up to 64 of them each.

    progress: (rounds done, all, {}).
    Raises Interrupted after Ctrl-C; the rounds take seconds, and are not saved.
    """
    pixels = math.prod((data.operator.image_shape or data.source.shape(0))[1:])
    count = min(MOST, max(LEAST, PIXELS // pixels))
    with stop_on_interrupt() as stop:
        for done in range(1, ROUNDS + 1):
            generator = make_generator("cpu", seed, 2, done)
            which = torch.randperm(len(data), generator=generator)[:count]
            draws = []
            for part in which.split(16):
                draws.append(prior.posterior_draw(data.batch(part), generator))
            prior.relearn(torch.cat(draws))
            if progress is not None:
                progress(done, ROUNDS, {})
            if stop.requested:
                raise stop.interrupted(f"stopped after {done} of {ROUNDS} rounds of the spectrum, which start again")
