"""From measurements to an estimator: the recipe's risk, then the rounds of the iterated recipe."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import Config, RiskConfig, TrainingConfig
from unveil.data import ImageSource, crops
from unveil.risks import Dilate, LogUniform, Mix, Oracle, Risk
from unveil.training.device import join
from unveil.training.gain import fit_to_images
from unveil.training.loop import Batches, train
from unveil.training.ranks import from_first
from unveil.training.recipes import make_risk
from unveil.training.refine import draw_training_set, round_levels
from unveil.training.stages import Stages
from unveil.training.validation import reference_free_validation

__all__ = ["Recipe", "learn"]

Recipe = Callable[[RiskConfig], Risk]


def learn(
    estimator: nn.Module,
    measurements: ImageSource,
    held_out: ImageSource,
    sigma_n: float,
    config: Config,
    folder: Path,
    *,
    recipe: Recipe = make_risk,
    device: str = "auto",
    stages: Stages | None = None,
) -> nn.Module:
    """The estimator trained as `config` says, on the CPU and in evaluation mode.

    estimator: f(y, sigma), weights drawn; changed in place. measurements: what it learns from. held_out: what it is
    validated on, and the gain of the rounds' sampler is fitted to. sigma_n: their noise level.
    folder: gets checkpoints and metrics, and round-<r>/ the draws and the training of each round. Whatever is there
    already is gone on with. recipe: config.risk -> the risk; by default the one that it names.
    Raises what `train`, `draw_training_set` and `fit_to_images` raise.
    """
    validation = reference_free_validation(held_out, sigma_n, config.seed)

    def fit(f: nn.Module, risk: Risk, data: Batches, stage: str) -> nn.Module:
        first = stage == "training"
        settings = config.training if first else later(config)
        return train(
            f,
            risk,
            data,
            settings,
            folder if first else folder / stage,
            seed=config.seed if first else derived_seed(config.seed, stage),
            device=device,
            validation=validation,
            progress=None if stages is None else stages(stage),
        )

    risk = recipe(config.risk)
    f = fit(estimator, risk, batches(measurements, risk, sigma_n, config), "training")
    for r, level in enumerate(round_levels(sigma_n, config.refine), start=1):
        stage = f"round-{r}"
        draws = draw(f, measurements, held_out, sigma_n, level, config, folder / stage, device, stages)
        if level > 0:
            risk = recipe(levels_up_to(config.risk, sigma_n / level))
            f = fit(f, risk, batches(draws, risk, level, config), stage)
        else:
            f = fit(f, em_risk(recipe, config, sigma_n), em_batches(draws, measurements, sigma_n, config), stage)
    return f


def draw(
    f: nn.Module,
    measurements: ImageSource,
    held_out: ImageSource,
    sigma_n: float,
    level: float,
    config: Config,
    folder: Path,
    device: str,
    stages: Stages | None,
) -> ImageSource:
    """The training set of a round, at the noise level `level`."""
    progress = None if stages is None else stages(f"{folder.name}, drawing")
    where = join(device).device
    gain = from_first(
        lambda: fit_to_images(f, held_out, sigma_n, config.refine.draw_steps, config.seed, where, record=folder)
    )
    return draw_training_set(
        f,
        measurements,
        sigma_n,
        level,
        folder / "draws.zarr",
        config=config.refine,
        gain=gain,
        seed=derived_seed(config.seed, folder.name),
        device=where,
        progress=None if progress is None else lambda done, total: progress(done, total, {}),
    )


def batches(source: ImageSource, risk: Risk, level: float, config: Config) -> Batches:
    """Random crops of `source` at the noise level `level`, as large as the risk needs them."""
    training = config.training
    window = training.crop * (max(risk.factors) if isinstance(risk, Dilate) else 1)

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = crops(source, training.batch, window, generator, training.augment)
        return y, torch.full((len(y),), level)

    return batch


def levels_up_to(risk: RiskConfig, ratio: float) -> RiskConfig:
    """`risk` for data whose level is `ratio` times lower: the same highest level."""
    return risk.model_copy(update={"levels": (risk.levels[0], risk.levels[1] * ratio)})


def em_risk(recipe: Recipe, config: Config, sigma_n: float) -> Risk:
    """Clean draws teach the levels below sigma_n, supervised; the measurements keep teaching those above, unbiased."""
    below = Oracle(LogUniform(LOWEST * sigma_n, OVERLAP * sigma_n))
    return Mix([(0.5, below), (0.5, recipe(config.risk.model_copy(update={"dilation": (1,)})))])


def em_batches(draws: ImageSource, measurements: ImageSource, sigma_n: float, config: Config) -> Batches:
    """Half a batch of draws, at level 0, then half a batch of measurements, in the order of `em_risk`."""
    training = config.training
    half = round(training.batch / 2)

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = crops(measurements, training.batch - half, training.crop, generator, training.augment)
        x = crops(draws, half, training.crop, generator, training.augment) if half else y[:0]
        level = torch.cat([torch.zeros(len(x)), torch.full((len(y),), sigma_n)])
        return torch.cat([x, y]), level

    return batch


LOWEST, OVERLAP = 0.08, 1.2
"""The levels that clean draws train, as multiples of sigma_n."""


def later(config: Config) -> TrainingConfig:
    """The training of a round: it starts from trained weights, so half the rate."""
    steps = config.refine.steps
    return config.training.model_copy(
        update={
            "steps": steps,
            "learning_rate": config.training.learning_rate / 2,
            "warmup": min(config.training.warmup, steps // 2),
        }
    )


def derived_seed(seed: int, stage: str) -> int:
    """A seed below 2^32 for `stage`, unrelated to those of other stages and runs."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stage}".encode()).digest()[:4], "big")
