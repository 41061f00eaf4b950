"""The routes below the measured noise level that the benchmarks compare: risk, form of the network, rounds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from unveil.config import RiskConfig
from unveil.diffusion import Ancestral
from unveil.risks import (
    AmbientTweedie,
    LogUniform,
    Martingale,
    Mix,
    Noisier,
    NormalizationLaw,
    Risk,
    Sum,
    Weighted,
    dilate,
    inverse_gradient_variance,
    inverse_target_variance,
    paper_law,
    renormalize,
)
from unveil.risks.kernels import daubechies4
from unveil.training.recipes import CROSSOVER, LOWEST_RATIO, RECIPES, trainable_sure

__all__ = ["METHODS", "Method"]

Recipe = Callable[[RiskConfig], Risk]


@dataclass(frozen=True)
class Method:
    """label: in tables. recipe: None is the oracle, on clean images. form: of the network. refine, training: in the sections
    of these names.

    Rounds share the steps: with two rounds a third of them goes to each stage. Where refine states steps, they come on top.
    """

    label: str
    recipe: Recipe | None
    form: str = "preconditioned"
    refine: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)


def nsure(law) -> Recipe:
    """N-SURE with another law of (a, mu)."""
    return lambda config: Noisier(renormalize(Weighted(trainable_sure()), law), LogUniform(1.0, config.levels[1]))


def ambient(config: RiskConfig) -> Risk:
    """Ambient Tweedie, one pass: nothing below sigma_n."""
    return AmbientTweedie(LogUniform(LOWEST_RATIO, config.levels[1]), inverse_target_variance)


def dilated(kernel_or_factors) -> Recipe:
    """Ambient Tweedie on low-pass images."""
    if callable(kernel_or_factors):
        return lambda config: dilate(ambient(config), (1, 2, 4), kernel_or_factors)
    return lambda config: dilate(ambient(config), kernel_or_factors)


def consistent(config: RiskConfig) -> Risk:
    """Consistent diffusion: SURE and Ambient Tweedie from the measured level up, the martingale below."""
    near = Noisier(Weighted(trainable_sure()), LogUniform(1.0, CROSSOVER))
    above = AmbientTweedie(LogUniform(CROSSOVER, config.levels[1]), inverse_gradient_variance)
    return Sum([(1.0, Mix([(0.25, near), (0.75, above)])), (0.1, Martingale(Ancestral().solve))])


def by_eight(config: RiskConfig) -> Risk:
    """The default recipe with block means by 8 as well, where it makes any: not in rounds."""
    dilation = (1, 2, 4, 8) if max(config.dilation) > 1 else config.dilation
    return RECIPES["default"](config.model_copy(update={"dilation": dilation}))


SMALL_CROPS = {"crop": 20, "batch": 82}
"""As many pixels as 32 crops of 32x32, eightfold windows of which fit images of 180x180."""

METHODS = {
    "oracle": Method("clean images (oracle)", None),
    "oracle-wrapper": Method("oracle, equivariant wrapper", None, "equivariant"),
    "oracle-layers": Method("oracle, equivariant layers", None, "affine"),
    "naive": Method("naive measurement consistency", RECIPES["consistency"]),
    "sure": Method("SURE at s >= sigma_n", RECIPES["sure"]),
    "ambient": Method("Ambient Tweedie at s > sigma_n", ambient),
    "consistent": Method("consistent diffusion: martingale below", consistent),
    "nsure": Method("N-SURE, a log-uniform", RECIPES["nsure"]),
    "nsure-paper": Method("N-SURE, a and mu uniform in (0, 1)", nsure(paper_law)),
    "nsure-mu0": Method("N-SURE, a log-uniform, mu = 0", nsure(NormalizationLaw(offset=(0.0, 0.0)))),
    "nsure-narrow": Method("N-SURE, a log-uniform, mu narrow", nsure(NormalizationLaw(offset=(0.4, 0.6)))),
    "r2r": Method("renormalized R2R", RECIPES["r2r"]),
    "wrapper": Method("Ambient Tweedie, equivariant wrapper", ambient, "equivariant"),
    "layers": Method("Ambient Tweedie, equivariant layers", ambient, "affine"),
    "dilate": Method("dilation by 1, 2, 4", dilated((1, 2, 4))),
    "dilate8": Method("dilation by 1, 2, 4, 8, smaller crops", dilated((1, 2, 4, 8)), training=SMALL_CROPS),
    "daubechies": Method("dilation by 1, 2, 4, Daubechies kernel", dilated(daubechies4)),
    "dilate-wrapper": Method("dilation + equivariant wrapper", dilated((1, 2, 4)), "equivariant"),
    "em": Method("Ambient Tweedie, wrapper, one round of EM", ambient, "equivariant", {"rounds": 1}),
    "iterated": Method(
        "Ambient Tweedie, wrapper, two rounds of delta = sigma_n / 2",
        ambient,
        "equivariant",
        {"rounds": 2, "delta": 0.5},
    ),
    "default": Method("default", RECIPES["default"]),
    "default-then-em": Method(
        "default, then one round of EM in 1,000 further steps",
        RECIPES["default"],
        refine={"rounds": 1, "steps": 1000, "images": 200, "draw_steps": 10},
    ),
    "default-em": Method("default, then one round of EM", RECIPES["default"], "preconditioned", {"rounds": 1}),
    "default8": Method("default, dilation by 8 as well, smaller crops", by_eight, training=SMALL_CROPS),
    "default8-then-em": Method(
        "the same, then one round of EM in 1,000 further steps",
        by_eight,
        refine={"rounds": 1, "steps": 1000, "images": 200, "draw_steps": 10},
        training=SMALL_CROPS,
    ),
}
