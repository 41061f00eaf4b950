"""The routes below the measured noise level that the benchmarks compare: risk, form of the network, rounds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from unveil.config import LossConfig
from unveil.diffusion import ConsistentDiffusion
from unveil.losses import (
    LogUniform,
    Loss,
    Mix,
    Noisier,
    NormalizationLaw,
    Normalize,
    Recorruption,
    Sum,
    inverse_gradient_variance,
    inverse_target_variance,
    paper_law,
)
from unveil.training.recipes import CROSSOVER, LOWEST_RATIO, RECIPES, trainable_stein

__all__ = ["METHODS", "Method"]

MakeLoss = Callable[[LossConfig], Loss]


@dataclass(frozen=True)
class Method:
    """label: in tables. loss: None is the oracle, on clean images. scales: of the images that it learns from. form: of
    the network.
    em, training: in the sections of these names.

    Rounds share the steps: with two rounds a third of them goes to each stage. Where em states steps, they come on top.
    """

    label: str
    loss: MakeLoss | None
    scales: tuple[int, ...] = (1,)
    form: str = "preconditioned"
    em: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)


def recipe(name: str) -> MakeLoss:
    """A recipe's loss for photographs."""
    return lambda config: RECIPES[name].make(config, 0.5)


def nsure(law) -> MakeLoss:
    """N-SURE with another law of (a, mu)."""
    return lambda config: Noisier(Normalize(trainable_stein(), law), LogUniform(1.0, config.levels[1]))


def ambient(config: LossConfig) -> Loss:
    """Recorruption alone, one pass: nothing below sigma_n."""
    return Recorruption(LogUniform(LOWEST_RATIO, config.levels[1]), inverse_target_variance)


def consistent(config: LossConfig) -> Loss:
    """Consistent diffusion: Stein's estimate and recorruption from the measured level up, the martingale below."""
    near = Noisier(trainable_stein(), LogUniform(1.0, CROSSOVER))
    above = Recorruption(LogUniform(CROSSOVER, config.levels[1]), inverse_gradient_variance)
    return Sum([(1.0, Mix([(0.25, near), (0.75, above)])), (0.1, ConsistentDiffusion())])


SMALL_CROPS = {"crop": 20, "batch": 82}
"""As many pixels as 32 crops of 32x32, eightfold windows of which fit images of 180x180."""

SCALES = (1, 2, 4)

METHODS = {
    "oracle": Method("clean images (oracle)", None),
    "oracle-wrapper": Method("oracle, equivariant wrapper", None, form="equivariant"),
    "oracle-layers": Method("oracle, equivariant layers", None, form="affine"),
    "naive": Method("naive measurement consistency", recipe("consistency")),
    "sure": Method("SURE at s >= sigma_n", recipe("sure")),
    "ambient": Method("Ambient Tweedie at s > sigma_n", ambient),
    "consistent": Method("consistent diffusion: martingale below", consistent),
    "nsure": Method("N-SURE, a log-uniform", recipe("nsure")),
    "nsure-paper": Method("N-SURE, a and mu uniform in (0, 1)", nsure(paper_law)),
    "nsure-mu0": Method("N-SURE, a log-uniform, mu = 0", nsure(NormalizationLaw(offset=(0.0, 0.0)))),
    "nsure-narrow": Method("N-SURE, a log-uniform, mu narrow", nsure(NormalizationLaw(offset=(0.4, 0.6)))),
    "r2r": Method("normalized R2R", recipe("r2r")),
    "wrapper": Method("Ambient Tweedie, equivariant wrapper", ambient, form="equivariant"),
    "layers": Method("Ambient Tweedie, equivariant layers", ambient, form="affine"),
    "dilate": Method("block means by 1, 2, 4", ambient, SCALES),
    "dilate8": Method("block means by 1, 2, 4, 8, smaller crops", ambient, (*SCALES, 8), training=SMALL_CROPS),
    "dilate-wrapper": Method("block means + equivariant wrapper", ambient, SCALES, "equivariant"),
    "em": Method("Ambient Tweedie, wrapper, one round of EM", ambient, form="equivariant", em={"rounds": 1}),
    "iterated": Method(
        "Ambient Tweedie, wrapper, two rounds of delta = sigma_n / 2",
        ambient,
        form="equivariant",
        em={"rounds": 2, "delta": 0.5},
    ),
    "default": Method("default", recipe("default"), SCALES),
    "default-then-em": Method(
        "default, then one round of EM in 1,000 further steps",
        recipe("default"),
        SCALES,
        em={"rounds": 1, "steps": 1000, "images": 200, "draw_steps": 10},
    ),
    "default-em": Method("default, then one round of EM", recipe("default"), SCALES, em={"rounds": 1}),
    "default8": Method(
        "default, block means by 8 as well, smaller crops", recipe("default"), (*SCALES, 8), training=SMALL_CROPS
    ),
}
