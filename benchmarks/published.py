"""What incomplete.py gives to a published method that is trained in its own way: network, data, steps and folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.config import Config
from unveil.dataset import Dataset
from unveil.measurement import Measurement
from unveil.training import train
from unveil.training.batches import make_batches
from unveil.training.loop import Batches, Objective, Progress

__all__ = ["BySamples", "Setting"]


class BySamples(ABC):
    """A method without an estimator: its estimate is the mean of its posterior samples."""

    @abstractmethod
    def draw(self, m: Measurement, generator: torch.Generator, samples: int, evaluations: int) -> Tensor:
        """Draw samples (S, B, *image) of x given y."""


@dataclass(frozen=True)
class Setting:
    """config: of the run, `training.steps` all that a method may take. data: measurements. folder: of the training."""

    config: Config
    data: Dataset
    folder: Path
    device: str
    progress: Progress

    def batches(self) -> Batches:
        """Return batches of whole measurements, as the recipes have them."""
        return make_batches(self.data, self.config.training.batch, self.config.training.crop, (1,), False)

    def fit(
        self, f: nn.Module, loss: Objective, batches: Batches, steps: int | None = None, part: int | None = None
    ) -> nn.Module:
        """Train f; `part`: which of several trainings it is, all but the first at half the rate, from trained
        weights."""
        how = self.config.training
        changed: dict[str, float] = {} if steps is None else {"steps": steps, "warmup": min(how.warmup, steps // 2)}
        if part:
            changed["learning_rate"] = how.learning_rate / 2
        return train(
            f, loss, batches, how.model_copy(update=changed),
            self.folder if part is None else self.folder / f"part-{part}",
            seed=self.config.seed + 1000 * (part or 0), device=self.device, progress=self.progress,
        )  # fmt: skip


Learning = Callable[[nn.Module, Setting], "nn.Module | BySamples"]
"""(the network of the other methods, weights drawn; its setting) -> what reconstructs."""
