"""From measurements to an estimator: the recipe's loss, then rounds of expectation maximisation."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import Config, TrainingConfig
from unveil.data import ImageSource
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned
from unveil.losses import LogUniform, Looks, Loss, Simulated
from unveil.losses.looks import BLIND
from unveil.symmetry import make_symmetry
from unveil.training.batches import draw_images, make_batches
from unveil.training.checkpoint import latest_checkpoint
from unveil.training.device import join
from unveil.training.em import Draws, WithDraws, chosen, draw_training_set, exposures_of_rounds
from unveil.training.inflation import fit_to_images
from unveil.training.looks import LearningFromDraws, Queue
from unveil.training.loop import Batches, Kept, Objective, Validation, train
from unveil.training.ranks import from_first
from unveil.training.recipes import make_loss, suited, teaches_below
from unveil.training.setup import signal_mean
from unveil.training.spectrum import learn_spectrum
from unveil.training.stages import Stages

__all__ = ["learn", "recipe_loss"]

LOWEST_LOOK = 0.04
"""The lowest level of a camera that looks train, as a multiple of that of y: below the last that a sampler asks for."""
LOWEST = 0.08
"""The lowest level that draws train, as a multiple of the measured one."""


def learn(
    estimator: nn.Module,
    data: Dataset,
    held_out: Dataset,
    config: Config,
    folder: Path,
    *,
    loss: Loss | None = None,
    scales: Sequence[int] = (1,),
    device: str = "auto",
    stages: Stages | None = None,
    validation: Validation | None = None,
) -> nn.Module:
    """Return the estimator trained as `config` says, on the CPU and in evaluation mode.

    estimator: f(m), weights drawn; changed in place. data: what it learns from. held_out: what it is validated on, and
    the inflation of the rounds' sampler is fitted to. scales: at which it learns (`unveil.training.batches`).
    folder: gets checkpoints and metrics, and round-<r>/ the draws and the training of each round. Whatever is there
    already is gone on with.
    loss: in place of the one that the configuration names. validation: of the estimator, as training goes on
    (`unveil.evaluation.validation`); None: it is not looked at.
    Raises UnveilError for rounds of incomplete measurements, and what `train`, `draw_training_set` and `fit_to_images`
    raise.
    """
    if config.em.rounds and data.operator.unseen:  # draws by f would be blind where A is
        raise UnveilError("em.rounds draw complete images, and these are not: set it to 0, or take loss.camera instead")
    return _Learning(data, held_out, config, folder, loss, scales, device, stages, validation).run(estimator)


def recipe_loss(config: Config, data: Dataset) -> Loss:
    """Return the loss that the configuration names, as it suits the instrument and the noise of the data."""
    return make_loss(suited(config.loss, data.operator, data.noise), signal_mean(config))


class _Learning:
    """What the stages of one training have in common."""

    def __init__(
        self, data: Dataset, held_out: Dataset, config: Config, folder: Path, loss: Loss | None,
        scales: Sequence[int], device: str, stages: Stages | None, validation: Validation | None,
    ) -> None:  # fmt: skip
        self.data, self.held_out, self.config, self.folder = data, held_out, config, folder
        self.scales, self.device, self.stages = scales, device, stages
        self.mean = signal_mean(config)
        self.losses = suited(config.loss, data.operator, data.noise)
        self.loss = loss or recipe_loss(config, data)
        self.windows = data.operator.window((0, 0, config.training.crop, config.training.crop)) is not None
        self.validation = validation

    def run(self, f: nn.Module) -> nn.Module:
        config = self.config
        self.learn_spectrum(f)
        objective, kept = self.objective(f)
        f = self.fit(f, objective, self.batches(self.data, self.scales), "training", self.validation, kept)
        for r, t in enumerate(exposures_of_rounds(config.em), start=1):
            stage = f"round-{r}"
            draws = self.draw(f, t, stage)
            if math.isinf(t):
                objective, batches = self.with_draws(draws)
            else:
                on = Dataset(draws, self.data.operator, self.data.noise.exposed(t))
                low, top = config.loss.levels
                objective = make_loss(self.losses.model_copy(update={"levels": (low, top * math.sqrt(t))}), self.mean)
                batches = self.batches(on, self.scales)
            f = self.fit(f, objective, batches, stage, self.validation)
        return f

    def objective(self, f: nn.Module) -> tuple[Objective, Kept | None]:
        """Return the loss of the first training, and what it keeps: the draws, where f knows a camera beside y."""
        shape = self.data.operator.image_shape
        if shape is None or not isinstance(f, Preconditioned) or not f.camera:
            return self.loss, None
        config, training = self.config, self.config.training
        queue = Queue(shape, Queue.size(training.steps, training.batch))
        symmetry = [name for name in config.loss.symmetry if name != "amplitude"]
        turned = make_symmetry(symmetry) if symmetry else None
        losses = config.loss
        prior = None if teaches_below(losses, self.scales) else f.prior
        blind = BLIND if prior is None else 0.0
        looks = Looks(config.estimator.std, LOWEST_LOOK, float(f.scale), turned, blind)
        objective = LearningFromDraws(self.loss, looks, queue, losses.camera, training.steps, losses.nonnegative, prior)
        return objective, queue

    def fit(
        self,
        f: nn.Module,
        loss: Objective,
        batches: Batches,
        stage: str,
        validation: Validation | None,
        kept: Kept | None = None,
    ) -> nn.Module:
        first, config = stage == "training", self.config
        return train(
            f,
            loss,
            batches,
            config.training if first else later(config),
            self.folder if first else self.folder / stage,
            seed=config.seed if first else derived_seed(config.seed, stage),
            device=self.device,
            kept=kept,
            validation=validation,
            progress=None if self.stages is None else self.stages(stage),
        )

    def batches(self, data: Dataset, scales: Sequence[int], batch: int | None = None) -> Batches:
        training = self.config.training
        return make_batches(data, batch or training.batch, training.crop, scales, training.augment)

    def with_draws(self, images: ImageSource) -> tuple[Objective, Batches]:
        """Return the objective and the batches of a round.

        Half of the batch are images, at the levels from far below the measured one to the highest of the measurements.
        """
        config, training = self.config, self.config.training
        half = max(1, training.batch // 2)
        simulated = Simulated(LogUniform(LOWEST, config.loss.levels[1]))
        measurements = self.batches(self.data, (1,), max(1, training.batch - half))

        def batches(generator: torch.Generator) -> Draws:
            x = draw_images(images, self.windows, half, training.crop, training.augment, generator)
            return Draws(measurements(generator), x)

        return WithDraws(self.loss, simulated), batches

    def draw(self, f: nn.Module, t: float, stage: str) -> ImageSource:
        """Draw the training set of a round, at exposure t."""
        config, where, folder = self.config, join(self.device).device, self.folder / stage
        inflation = from_first(
            lambda: fit_to_images(
                f, self.held_out, config.em.draw_steps, config.seed, where, record=folder, schedule="geometric"
            )
        )
        return draw_training_set(
            f, chosen(self.data, config.em.images), t, folder / "draws.zarr", steps=config.em.draw_steps,
            inflation=inflation, seed=derived_seed(config.seed, stage), device=where, progress=self.progress(stage),
        )  # fmt: skip

    def progress(self, stage: str) -> Callable[[int, int], object] | None:
        if self.stages is None:
            return None
        show = self.stages(f"{stage}, drawing")
        return lambda done, total: show(done, total, {})

    def learn_spectrum(self, f: nn.Module) -> None:
        """Learn the spectrum of the estimator's stationary prior, if it has one, unless a checkpoint holds it."""
        prior = f.prior if isinstance(f, Preconditioned) else None
        if prior is None:
            return

        def spectrum() -> Tensor:
            if latest_checkpoint(self.folder / "checkpoints") is None:
                progress = None if self.stages is None else self.stages("spectrum")
                learn_spectrum(prior, self.data, seed=self.config.seed, progress=progress)
            return prior.spectrum

        prior.spectrum = from_first(spectrum)


def later(config: Config) -> TrainingConfig:
    """Return the training of a round: it starts from trained weights, so half the rate."""
    steps = config.em.steps
    return config.training.model_copy(
        update={
            "steps": steps,
            "learning_rate": config.training.learning_rate / 2,
            "warmup": min(config.training.warmup, steps // 2),
        }
    )


def derived_seed(seed: int, stage: str) -> int:
    """Return a seed below 2^32 for `stage`, unrelated to those of other stages and runs."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stage}".encode()).digest()[:4], "big")
