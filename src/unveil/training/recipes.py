"""Named recipes: the loss that a run minimises.

What each costs and reaches is in docs/recipes.md and docs/incomplete.md.

All have two parts. In measurement space an unbiased loss of A f; for what A does not see, a symmetry of the signals
(equivariant imaging), entries hidden from the network (splitting), or both. Where A sees all the second part answers
with nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.config import LossConfig
from unveil.losses import (
    Consistency,
    Equivariance,
    Hide,
    LogUniform,
    Loss,
    Mix,
    Noisier,
    NormalizationLaw,
    Normalize,
    PairLaw,
    Recorruption,
    Stein,
    Sum,
    Symmetrize,
    Unsure,
    Weighted,
    inverse_gradient_variance,
)
from unveil.noise.base import Noise
from unveil.operators.base import Operator
from unveil.symmetry import make_symmetry

__all__ = ["RECIPES", "Recipe", "make_loss", "partly_normalized", "suited", "teaches_below", "trainable_stein"]

PROBE_STEP = 0.1
"""Of the divergence in training, in units of sigma: through ReLUs a short finite difference has a noisy gradient, and a
long one is biased through any network (benchmarks/probe_step.py)."""

CROSSOVER = 1.3
"""s / sigma below which Stein's gradient is the quieter one for its two passes, and above which recorruption's is:
between
1.2, where they cross early in training, and 1.8, where they do late (benchmarks/gradient_variance.py)."""

LOWEST_RATIO = 1.2
"""s / sigma at which recorruption alone starts: at 1 its target's variance is infinite."""


@dataclass(frozen=True)
class Recipe:
    """make: (configuration, the images' mean) -> the loss. scales: whether it learns from coarser measurements too.

    below: whether the loss itself teaches levels below the measured one.
    """

    make: Callable[[LossConfig, float], Loss]
    scales: bool = False
    below: Callable[[LossConfig], bool] = lambda config: False


def trainable_stein() -> Loss:
    """Return Stein's estimate with the probe step that trains best.

    Evaluation keeps the shorter one, for its smaller bias.
    """
    return Weighted(Stein(step=PROBE_STEP))


def suited(config: LossConfig, operator: Operator, noise: Noise) -> LossConfig:
    """Return the configuration, without Stein's share near the level where that does not teach what it should.

    Its probe is of the first order, exact for Gaussian noise alone: of 2 photons networks lost 3.7 dB to it, and are as
    good as the supervised one without. Where A leaves something out it cost .14 dB (MRI x4), in noisier gradients.
    """
    return config if noise.additive and not operator.unseen else config.model_copy(update={"near": 0.0})


def partly_normalized(share: float, mean: float) -> PairLaw:
    """Return the law of (a, mu): a log-uniform in [0.1, 1] for this share of the samples, 1 for the others.

    mu is 0 for images whose background is 0: elsewhere it would be none that they have.
    """
    law = NormalizationLaw(low=0.1, offset=(0.0, 1.0) if mean else (0.0, 0.0))

    def draw(like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        a, mu = law(like, generator)
        chosen = torch.rand(like.shape, generator=generator, device=like.device) < share
        return torch.where(chosen, a, 1.0), torch.where(chosen, mu, 0.0)

    return draw


def above(config: LossConfig, lowest: float = LOWEST_RATIO) -> Loss:
    """Return recorruption: A f is learned above the measured level; one pass."""
    low, top = config.levels
    return Recorruption(LogUniform(min(max(lowest, low), top), top), inverse_gradient_variance)


def hidden(loss: Loss, config: LossConfig) -> Loss:
    """Return the loss with a share of the entries hidden from f, as the configuration says."""
    return Hide(loss, config.hidden) if config.hidden else loss


def default(config: LossConfig, mean: float) -> Loss:
    """Return the loss of the default recipe.

    Recorruption, a share of it normalized, Stein's estimate just above each level, entries hidden in half of the batch,
    and equivariant imaging of fixed targets.
    """
    low, top = config.levels
    edge = min(max(CROSSOVER, low), top)
    base = above(config, edge if config.near else LOWEST_RATIO)
    if config.normalized:
        base = Normalize(base, partly_normalized(config.normalized, mean))
    base = hidden(base, config)
    if config.near:
        near = hidden(Noisier(trainable_stein(), LogUniform(low, edge)), config)
        base = Mix([(config.near, near), (1 - config.near, base)])
    if not config.equivariance or not config.symmetry:
        return base
    term = Weighted(Equivariance(make_symmetry(config.symmetry), seen=config.seen, nonnegative=config.nonnegative))
    return Sum([(1.0, base), (config.equivariance, term)])


def ambient(config: LossConfig, mean: float) -> Loss:
    """Return ambient diffusion: recorruption, and further corruption of what is incomplete; one pass."""
    return hidden(above(config), config)


def measured(config: LossConfig, mean: float) -> Loss:
    """Return recorruption in measurement space: A f alone is learned, above the measured level; one pass."""
    return above(config)


def unsure(config: LossConfig, mean: float) -> Loss:
    """Return the loss of the default recipe, under noise that is learned along with the network, at one scale.

    That of coarser measurements is no multiple of the same multipliers.
    """
    return Unsure(default(config, mean))


def sure(config: LossConfig, mean: float) -> Loss:
    """Return Stein's estimate at and above the measured level; two passes.

    Teaches nothing below it.
    """
    return Noisier(trainable_stein(), LogUniform(1.0, config.levels[1]))


def nsure(config: LossConfig, mean: float) -> Loss:
    """Return N-SURE: Stein's estimate of randomly normalized measurements, from the measured level down; two passes."""
    law = None if mean else NormalizationLaw(offset=(0.0, 0.0))
    return Noisier(Normalize(trainable_stein(), law), LogUniform(1.0, config.levels[1]))


def r2r(config: LossConfig, mean: float) -> Loss:
    """Return normalized recorruption at one ratio; one pass."""
    law = None if mean else NormalizationLaw(offset=(0.0, 0.0))
    return Normalize(Recorruption(LogUniform(R2R_RATIO, R2R_RATIO), inverse_gradient_variance), law)


R2R_RATIO = 1.118
"""s / sigma of the recorruption ratio a = .5: (1 + a^2)^(1/2)."""


def consistency(config: LossConfig, mean: float) -> Loss:
    """Return naive measurement consistency, which learns the identity: the baseline that must fail."""
    return Weighted(Consistency())


def equivariant(config: LossConfig, mean: float) -> Loss:
    """Return equivariant imaging as published: gradients through both passes, nothing normalized, nothing hidden."""
    term = Weighted(Equivariance(make_symmetry(config.symmetry), detach=False))
    return Sum([(1.0, above(config)), (config.equivariance, term)]) if config.equivariance else above(config)


def splitting(config: LossConfig, mean: float) -> Loss:
    """Return measurement splitting alone (SSDU): the noise of the entries that are seen is not corrected for."""
    return Hide(Weighted(Consistency()), config.hidden or 0.4, keep=0.0)


def equivariant_splitting(config: LossConfig, mean: float) -> Loss:
    """Return equivariant splitting: entries hidden from a network that does not know how the image is turned.

    No second pass.
    """
    return Symmetrize(ambient(config, mean), make_symmetry(config.symmetry))


RECIPES: dict[str, Recipe] = {
    "default": Recipe(default, scales=True, below=lambda config: config.normalized > 0),
    "ambient": Recipe(ambient, scales=True),
    "measured": Recipe(measured),
    "sure": Recipe(sure),
    "unsure": Recipe(unsure, below=lambda config: config.normalized > 0),
    "nsure": Recipe(nsure, below=lambda config: True),
    "r2r": Recipe(r2r, below=lambda config: True),
    "consistency": Recipe(consistency),
    "equivariant": Recipe(equivariant),
    "splitting": Recipe(splitting),
    "equivariant-splitting": Recipe(equivariant_splitting),
}


def teaches_below(config: LossConfig, scales: Sequence[int]) -> bool:
    """Return whether the recipe teaches levels below the measured one; scales: of the batches, at least (1,)."""
    recipe = RECIPES[config.recipe]
    return (recipe.scales and max(scales) > 1) or recipe.below(config)


def make_loss(config: LossConfig, mean: float = 0.5) -> Loss:
    """Return the loss that `config.recipe` names.

    mean: of the images.
    """
    return RECIPES[config.recipe].make(config, mean)
