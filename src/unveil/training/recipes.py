"""Named recipes: the risk that a run minimises. What each costs and reaches is in docs/recipes.md."""

from collections.abc import Callable

from unveil.config import RiskConfig
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    LogUniform,
    MeasurementConsistency,
    Mix,
    MonteCarloDivergence,
    Noisier,
    Risk,
    Weighted,
    dilate,
    inverse_target_variance,
    renormalize,
)

__all__ = ["RECIPES", "make_risk"]


PROBE_STEP = 0.1
"""Of the divergence in training, in units of sigma. Through a network of ReLUs a short finite difference has a noisy gradient,
from the few units whose kink the probe crosses, and a long one a biased gradient: benchmarks/probe_step.py."""


def trainable_sure() -> SURE:
    """SURE with the probe step that trains best; evaluation keeps the shorter one, for its smaller bias."""
    return SURE(MonteCarloDivergence(step=PROBE_STEP))


def ambient(config: RiskConfig) -> Risk:
    """Dilation + Ambient Tweedie: levels above each base level, one pass."""
    return dilate(AmbientTweedie(LogUniform(*config.levels), inverse_target_variance), config.dilation)


def mixed(config: RiskConfig) -> Risk:
    """Dilation + SURE, half of the batch at the base level and half with more noise; two passes."""
    noisier = Noisier(Weighted(trainable_sure()), LogUniform(1.0, config.levels[1]))
    return dilate(Mix([(0.5, Weighted(trainable_sure())), (0.5, noisier)]), config.dilation)


def sure(config: RiskConfig) -> Risk:
    """SURE at and above the measured level; two passes. Teaches nothing below it."""
    return Noisier(Weighted(trainable_sure()), LogUniform(1.0, config.levels[1]))


def nsure(config: RiskConfig) -> Risk:
    """N-SURE: SURE of randomly renormalized measurements, from the measured level down; two passes."""
    return Noisier(renormalize(Weighted(trainable_sure())), LogUniform(1.0, config.levels[1]))


def r2r(config: RiskConfig) -> Risk:
    """Renormalized R2R; one pass."""
    return renormalize(Weighted(R2R(a=0.5)))


def consistency(config: RiskConfig) -> Risk:
    """Naive measurement consistency: learns the identity. The baseline that must fail."""
    return Weighted(MeasurementConsistency())


RECIPES: dict[str, Callable[[RiskConfig], Risk]] = {
    "default": ambient,
    "mixed": mixed,
    "sure": sure,
    "nsure": nsure,
    "r2r": r2r,
    "consistency": consistency,
}


def make_risk(config: RiskConfig) -> Risk:
    """The risk that `config.recipe` names."""
    return RECIPES[config.recipe](config)
