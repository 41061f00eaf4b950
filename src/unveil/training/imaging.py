"""From incomplete measurements to a reconstruction network: batches of whole measurements, and the rounds of the EM recipe."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import Config, RiskConfig
from unveil.data import ImageSource
from unveil.problem import Problem, Several
from unveil.risks import Each, Risk
from unveil.training.imaging_recipes import make_imaging_risk
from unveil.training.loop import Batches, train
from unveil.training.stages import Stages
from unveil.training.validation import measurement_validation

__all__ = ["ImagingRecipe", "learn_imaging", "measurement_batches"]

ImagingRecipe = Callable[[RiskConfig, Problem], Risk]


def learn_imaging(
    estimator: nn.Module,
    measurements: ImageSource,
    problem: Problem | Several,
    held_out: ImageSource,
    held_out_problem: Problem | Several,
    sigma_n: float,
    config: Config,
    folder: Path,
    *,
    recipe: ImagingRecipe = make_imaging_risk,
    device: str = "auto",
    stages: Stages | None = None,
) -> nn.Module:
    """The reconstruction network trained as `config` says, on the CPU and in evaluation mode.

    estimator: f(y, sigma, problem). problem, held_out_problem: of the measurements, in their order. Others: as `learn`.
    """
    return train(
        estimator,
        Each(problem, lambda part: recipe(config.risk, part)),
        measurement_batches(measurements, sigma_n, config.training.batch),
        config.training,
        folder,
        seed=config.seed,
        device=device,
        validation=measurement_validation(held_out, held_out_problem, sigma_n, config.seed),
        progress=None if stages is None else stages("training"),
    )


def measurement_batches(source: ImageSource, sigma_n: float, batch: int) -> Batches:
    """Whole measurements, drawn with equal odds: (y, sigma, which)."""

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        which = torch.randint(0, len(source), (batch,), generator=generator)
        y = torch.stack([source.read(i) for i in which.tolist()])
        return y, torch.full((batch,), sigma_n), which

    return draw
