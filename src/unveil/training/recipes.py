"""Named recipes: the risk that a run minimises. What each costs and reaches is in docs/recipes.md."""

from collections.abc import Callable

from unveil.config import RiskConfig
from unveil.errors import UnveilError
from unveil.risks import (
    R2R,
    SURE,
    AmbientTweedie,
    LogUniform,
    MeasurementConsistency,
    Mix,
    MonteCarloDivergence,
    Noisier,
    NormalizationLaw,
    Risk,
    Weighted,
    dilate,
    inverse_gradient_variance,
    inverse_target_variance,
    renormalize,
)

__all__ = ["RECIPES", "make_risk"]


PROBE_STEP = 0.1
"""Of the divergence in training, in units of sigma: through ReLUs a short finite difference has a noisy gradient, and a long
one is biased through any network (benchmarks/probe_step.py)."""


def trainable_sure() -> SURE:
    """SURE with the probe step that trains best; evaluation keeps the shorter one, for its smaller bias."""
    return SURE(MonteCarloDivergence(step=PROBE_STEP))


CROSSOVER = 1.3
"""s / sigma below which SURE's gradient is the quieter one for its two passes, and above which Ambient Tweedie's is: between
1.2, where they cross early in training, and 1.8, where they do late (benchmarks/gradient_variance.py)."""


def default(config: RiskConfig) -> Risk:
    """Dilation of SURE just above each base level and of Ambient Tweedie above that, a fifth of it renormalized; 1.2 passes."""
    low, top = config.levels
    edge = min(max(CROSSOVER, low), top)
    near = Noisier(Weighted(trainable_sure()), LogUniform(low, edge))
    above = AmbientTweedie(LogUniform(edge, top), inverse_gradient_variance)
    renormalized = renormalize(above, NormalizationLaw(low=0.2))
    return dilate(Mix([(0.2, near), (0.6, above), (0.2, renormalized)]), config.dilation)


def ambient(config: RiskConfig) -> Risk:
    """Dilation of Ambient Tweedie alone: levels above each base level, one pass."""
    levels = LogUniform(max(config.levels[0], LOWEST_RATIO), config.levels[1])
    return dilate(AmbientTweedie(levels, inverse_target_variance), config.dilation)


LOWEST_RATIO = 1.2
"""s / sigma at which Ambient Tweedie alone starts: at 1 its target's variance is infinite."""


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
    "default": default,
    "ambient": ambient,
    "mixed": mixed,
    "sure": sure,
    "nsure": nsure,
    "r2r": r2r,
    "consistency": consistency,
}


def make_risk(config: RiskConfig) -> Risk:
    """The risk that `config.recipe` names. Raises UnveilError for one that is for incomplete measurements only."""
    if config.recipe not in RECIPES:
        raise UnveilError(
            f"risk.recipe = {config.recipe} is for incomplete measurements; without a system choose {', '.join(RECIPES)}"
        )
    return RECIPES[config.recipe](config)
