"""Noise that training learned beside the noise that it began with: which of them is a trained network told?

The one of the better verdict on held-out measurements (`unveil.evaluation.residual_fit.model_fit`). Where they
contradict both, the one of which more is there at the least, to a tenth: images make noise look too strong and never
too weak, so that only noise which is missing speaks against a model. Else the first stays: what is learned is a bound,
too large by what the best estimate leaves of the noise (`unveil.losses.unsure`).

The rule was changed once on benchmarks/unsure.py, where deviations both ways had chosen a bound over an estimate that
was right (photographs in blurred noise, for 1.5 dB); no other data have judged it since.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from unveil.checks.fit import Fit
from unveil.config import Config
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.evaluation.residual_fit import model_fit
from unveil.losses import Loss, Unsure
from unveil.noise import Noise, OwnNoise
from unveil.runs.record import LearnedNoise

__all__ = ["check_learnable", "choose_told", "missing", "told"]

VERDICTS = ("fits", "cannot be told", "does not fit")


def check_learnable(config: Config, noise: Noise | OwnNoise) -> None:
    """Raise UnveilError where the recipe learns the noise, and there is not one of all images in one training."""
    if config.loss.recipe == "unsure" and isinstance(noise, OwnNoise):
        raise UnveilError("loss.recipe = unsure learns one noise, and here each image has its own: use default")
    if config.loss.recipe == "unsure" and config.em.rounds:
        raise UnveilError("loss.recipe = unsure learns the noise in one training: set em.rounds to 0, or use default")


def choose_told(f: nn.Module, held_out: Dataset, loss: Loss, *, seed: int = 0) -> LearnedNoise | None:
    """Return what `loss` learned of the noise, and whether f is told that; None where it learns none.

    f: trained with `loss`, on the CPU. held_out: measurements that it did not see, of the noise that it began with.
    """
    if not isinstance(loss, Unsure):
        return None
    noises = {"first": held_out.noise, "learned": loss.learned(held_out.noise)}
    fits = {name: model_fit(f, replace(held_out, noise=noise), seed=seed) for name, noise in noises.items()}
    kept, left = sorted(noises, key=lambda name: _rank(fits[name]))  # stable: the first one where they are alike
    why = (
        f"the noise that was learned is {noises['learned']}, and {held_out.noise} at first; the network is told the "
        f"{kept} one: on held-out measurements it {_words(fits[kept])}; the {left} one {_words(fits[left])}"
    )
    logs = {name: loss.multipliers.values[name].tolist() for name in held_out.noise.unknown}
    return LearnedNoise(logs=logs, noise=str(noises["learned"]), told=kept == "learned", why=why)


def told(data: Dataset, learned: LearnedNoise) -> Dataset:
    """Return the measurements with the noise that the trained network is told, in place of that which it began with."""
    return replace(data, noise=learned.of(data.noise))


def missing(fit: Fit) -> float:
    """Return how much of the stated variance is missing at the most, as -log of what is there; 0 where nothing is.

    Looked at are the variance of all and by brightness, and that of middle over high frequencies.
    """
    return max((-log for log in _logs(fit)), default=0.0)


def _logs(fit: Fit) -> Iterator[float]:
    """Return the logarithms of what is there over what is stated, and 0."""
    figures = fit.figures
    ratios = [figures[name] for name in ("level", "dark", "bright") if name in figures]
    ratios += [row[1:] for row in figures.get("brightness", [])]
    yield 0.0
    yield from (math.log(max(r[0], 1e-9)) for r in ratios if r[0] is not None)
    if "white" in figures and figures["white"][0] is not None:
        yield figures["white"][0]


def _rank(fit: Fit) -> tuple[int, float]:
    return VERDICTS.index(fit.verdict), round(missing(fit), 1) if fit.verdict == VERDICTS[-1] else 0.0


def _words(fit: Fit) -> str:
    return f"{fit.verdict}, with {math.exp(-missing(fit)):.2f} of its variance there at the least"
