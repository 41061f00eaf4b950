"""EM for the spectrum of the stationary prior, from measurements alone."""

import math
from collections.abc import Callable

import torch

from unveil.data import ImageSource
from unveil.estimators import Stationary
from unveil.problem import Problem, Several
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
    measurements: ImageSource,
    problem: Problem | Several,
    sigma_n: float,
    *,
    seed: int = 0,
    progress: Callable[[int, int, dict[str, float]], object] | None = None,
) -> None:
    """Learn `prior.spectrum` from measurements by `problem` at level sigma_n: 16 rounds of EM, on up to 64 measurements each.

    measurements: (C, H, W) each, in the order of the problem's. progress: (rounds done, all, {}).
    Raises Interrupted after Ctrl-C; the rounds take seconds, and are not saved.
    """
    pixels = math.prod((problem.image_shape or measurements.shape(0))[1:])
    count = min(MOST, max(LEAST, PIXELS // pixels))
    with stop_on_interrupt() as stop:
        for done in range(1, ROUNDS + 1):
            generator = make_generator("cpu", seed, 2, done)
            which = torch.randperm(len(measurements), generator=generator)[:count]
            draws = []
            for part in which.split(16):
                y = torch.stack([measurements.read(i) for i in part.tolist()])
                draws.append(prior.posterior_draw(problem.at(part), y, torch.full((len(part),), sigma_n), generator))
            prior.relearn(torch.cat(draws))
            if progress is not None:
                progress(done, ROUNDS, {})
            if stop.requested:
                raise stop.interrupted(f"stopped after {done} of {ROUNDS} rounds of the spectrum, which start again")
