"""Named recipes for incomplete measurements: the risk of a batch whose problem is given. What each reaches is in docs/incomplete.md.

All have two parts. In measurement space an unbiased risk of A f, as for denoising; for what A does not see, a symmetry of the
signals (equivariant imaging), entries hidden from the network (splitting), or both.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unveil.config import RiskConfig
from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.risks import (
    AmbientTweedie,
    Equivariance,
    Hide,
    LogUniform,
    MeasurementConsistency,
    NormalizationLaw,
    PairLaw,
    Risk,
    Sum,
    Symmetrize,
    Weighted,
    hidden_axes,
    renormalize,
)
from unveil.symmetry import make_symmetry
from unveil.training.recipes import LOWEST_RATIO

__all__ = ["IMAGING_RECIPES", "make_imaging_risk", "precision"]

UNSEEN = 0.05
"""The error of images in [0, 1] that no noise level explains: what A does not see is off by this much even at s = 0."""


def precision(s: Tensor) -> Tensor:
    """1 / (s^2 + 0.05^2) (B,): the weight under which levels count about alike, where a part of the error does not depend on s."""
    return 1 / (s**2 + UNSEEN**2)


def ambient_weight(sigma: Tensor, s: Tensor) -> Tensor:
    """`precision`, times alpha, the share of the gradient's precision that the noise of the target leaves (see `AmbientTweedie`)."""
    return (1 - sigma**2 / s**2) * precision(s)


def partly_renormalized(share: float) -> PairLaw:
    """The law of (a, mu): a log-uniform in [0.1, 1] for this share of the samples, 1 for the others; mu is 0, which suits images with
    a background of 0 as well."""
    law = NormalizationLaw(low=0.1, offset=(0.0, 0.0))

    def draw(sigma: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        a, mu = law(sigma, generator)
        chosen = torch.rand(sigma.shape, generator=generator, device=sigma.device) < share
        return torch.where(chosen, a, 1.0), torch.where(chosen, mu, 0.0)

    return draw


def measured(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Ambient Tweedie in measurement space: A f alone is learned, at the measured level and above. One pass."""
    levels = LogUniform(max(config.levels[0], LOWEST_RATIO), config.levels[1])
    return AmbientTweedie(levels, ambient_weight, problem)


def equivariant(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Equivariant imaging as published: gradients through both passes, no renormalization, nothing hidden."""
    term = Weighted(Equivariance(make_symmetry(config.symmetry), problem, detach=False, virtual=virtual), precision)
    return Sum([(1.0, measured(config, problem, virtual)), (config.equivariance, term)])


def ambient(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Ambient diffusion: further corruption, no symmetry but the network's own."""
    return hidden(measured(config, problem, virtual), config)


def equivariant_splitting(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Equivariant splitting: entries hidden from a network that does not know how the image is turned. No second pass."""
    return Symmetrize(ambient(config, problem, virtual), make_symmetry(config.symmetry))


def splitting(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Measurement splitting alone (SSDU): the noise of the entries that are seen is not corrected for."""
    return Hide(
        Weighted(MeasurementConsistency(problem), precision), config.hidden or 0.4, keep=0.0, axes=hidden_axes(problem)
    )


def default(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """Ambient Tweedie, a share of it renormalized, entries hidden in half of the batch, and equivariant imaging of fixed targets."""
    base = measured(config, problem, virtual)
    if config.renormalized:
        base = renormalize(base, partly_renormalized(config.renormalized))
    base = hidden(base, config)
    if not config.equivariance or not config.symmetry:
        return base
    symmetry = make_symmetry(config.symmetry)
    term = Weighted(Equivariance(symmetry, problem, virtual=virtual, seen=config.seen), precision)
    return Sum([(1.0, base), (config.equivariance, term)])


def hidden(risk: Risk, config: RiskConfig) -> Risk:
    """The risk with a share of the entries hidden from f, as the configuration says."""
    return Hide(risk, config.hidden, axes=hidden_axes(risk.problem)) if config.hidden else risk


IMAGING_RECIPES: dict[str, Callable[[RiskConfig, Problem, Problem], Risk]] = {
    "default": default,
    "ambient": ambient,
    "equivariant": equivariant,
    "splitting": splitting,
    "equivariant-splitting": equivariant_splitting,
    "measured": measured,
}


def make_imaging_risk(config: RiskConfig, problem: Problem, virtual: Problem) -> Risk:
    """The risk that `config.recipe` names, of a batch with this problem and, for virtual measurements, that one (`Each`). Raises UnveilError for one that is for denoising only."""
    if config.recipe not in IMAGING_RECIPES:
        raise UnveilError(
            f"risk.recipe = {config.recipe} is for complete measurements; with this system choose {', '.join(IMAGING_RECIPES)}"
        )
    return IMAGING_RECIPES[config.recipe](config, problem, virtual)
