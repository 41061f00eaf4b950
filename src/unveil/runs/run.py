"""The run folder: all that it takes to repeat a run, and to use what it learned.

config.yaml          the configuration
run.json             versions, seed, command, noise, and what the configuration and the data were when it began; and
                     what was learned of the noise
data.json            the hash of each file's content
estimated/           of the instrument, what was found in the measurements: sensitivities of coils
maps/                of noise parameters that differ from pixel to pixel, as config.yaml names them
start.safetensors    of a run that starts from another one's weights, these
metrics.jsonl        one line a step; tensorboard/ has the same
round-1/, ...        the same of each round of the iterated recipe, and its draws of the training set
sampler.json         the inflation of the sampler, fitted to the trained network
checkpoints/         the newest two, for resuming
model.safetensors    the averaged weights, once training is done
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from unveil.checks import Seen
from unveil.config import Config
from unveil.data import Measured
from unveil.dataset import Dataset
from unveil.errors import UnveilError, warn
from unveil.noise import Noise, OwnNoise
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.runs.contents import FILE as CONTENTS
from unveil.runs.contents import check_contents, numbers_then, open_contents, write_contents
from unveil.runs.estimated import with_estimated
from unveil.runs.noise import noise_of
from unveil.runs.record import open_record
from unveil.training.checkpoint import latest_checkpoint, load_weights, read_weights
from unveil.training.inflation import read_inflation
from unveil.training.ranks import is_first
from unveil.training.recipes import teaches_below
from unveil.training.setup import (
    build_estimator,
    indices,
    instrument,
    open_operator,
    open_source,
    split,
    with_gaps,
)
from unveil.training.stages import Stages, reading

__all__ = ["Run", "check_name", "open_run"]


@dataclass(frozen=True)
class Run:
    """A run on disk.

    folder: where it is. config: what it was asked to do. noise: of the measurements on the data's [0, 1] scale, that
    the trained network is told, as it is before a detector's pattern is taken off.
    channels: C of its images. scales: the block sizes that its images are large enough for. seen: the types and the
    range of their values, where they are recorded. never_seen: what no measurement sees of the images, in words.
    """

    folder: Path
    config: Config
    noise: Noise | OwnNoise
    channels: int
    scales: tuple[int, ...]
    seen: Seen | None = None
    never_seen: str | None = None

    @property
    def learns_below(self) -> bool:
        """Whether anything taught the levels below the measured one, through which posterior samples go."""
        config = self.config
        return teaches_below(config.loss, self.scales) or config.em.rounds > 0 or config.loss.camera > 0

    @property
    def inflation(self) -> float:
        """The inflation of the sampler: stated, or fitted when training ended."""
        stated = self.config.sampling.inflation
        return read_inflation(self.folder) if isinstance(stated, str) else stated

    def check_data(self, else_do: str) -> None:
        """Raise UnveilError, which ends with `else_do`, when the data are not where the run's configuration says."""
        path = self.config.data.path
        if not Path(path).exists():
            raise UnveilError(
                f"{path} does not exist, the data.path of {self.folder / 'config.yaml'} (there relative to "
                f"{self.folder}): put the data there, mend the path, or {else_do}"
            )

    def measurements(self, stages: Stages | None = None, *, to_train: bool = False) -> tuple[Dataset, Dataset]:
        """Return the measurements to train on, and those held out: those that the run began with.

        to_train: as the one that may write the run folder. Raises UnveilError when they are not there, or have changed;
        of some that are gone a warning is given.
        """
        self.check_data("start a new run")
        config, recorded, record = self.config, open_contents(self.folder), open_record(self.folder)[0]
        if recorded.fingerprint != record.data:
            raise UnveilError(f"{self.folder / CONTENTS}: of another run than run.json; restore it, or start a new run")
        source = open_source(config)
        numbers = numbers_then(recorded, source, config)
        operator = open_operator(self._known(), source, recorded.images)
        if len(numbers) < recorded.images:
            operator = operator.select(torch.tensor(list(numbers)))
            if to_train and any(self.folder.glob("round-*")):
                raise UnveilError(
                    f"{config.data.path}: put back what is gone: the draws of the rounds are of all files"
                )
        measured = Measured(source, operator)
        seen = check_contents(recorded, measured, config, reading(stages))
        if to_train and is_first() and seen != recorded:  # what was read now need not be read at the next resume
            write_contents(self.folder, seen)
        training, held_out = split(measured, config, recorded.images, numbers)
        noise = record.noise.noise_of(self.folder, config.noise) if to_train else self.noise
        data = Dataset(with_gaps(config, measured), operator, noise_of(noise, measured))
        return data.subset(indices(training)), data.subset(indices(held_out))

    def trained(self) -> bool:
        """Return whether training has ended.

        Damaged weights, of which a warning is given, can be made again from a checkpoint. Raises UnveilError when they
        are damaged, and there is none.
        """
        if not self.weights.is_file():
            return False
        try:
            read_weights(self.weights, self._mend())
        except UnveilError as error:
            if latest_checkpoint(self.folder / "checkpoints") is None:
                raise
            warn(str(error))
            return False
        return True

    @property
    def weights(self) -> Path:
        """The file that holds them once training has ended."""
        return self.folder / "model.safetensors"

    def _mend(self) -> str:
        """Say what to do when the weights are damaged."""
        if latest_checkpoint(self.folder / "checkpoints") is None:
            return "restore it or train again"
        return f"unveil train {self.folder} makes it again from the last checkpoint"

    def estimator(self, operator: Operator) -> nn.Module:
        """Return f(m) with the trained weights, on the CPU.

        operator: of the measurements that it will be given, `open_operator`'s.
        Raises UnveilError when training has not finished.
        """
        if not self.weights.is_file():
            raise UnveilError(f"{self.folder}: not trained to the end; finish with unveil train {self.folder}")
        estimator = build_estimator(self.config, self.channels, operator, self.noise.uneven)
        load_weights(self.weights, estimator, self._mend())
        return estimator.eval()

    def operator(self) -> Operator:
        """Return the operator that the configuration describes.

        Raises UnveilError where its data, whose shape it needs, are gone.
        """
        if instrument(self.config).sees_all:
            return Identity()
        self.check_data("pass operator")
        return open_operator(self._known(), open_source(self.config))

    def _known(self) -> Config:
        """Return the configuration, with what was estimated of the operator when the run began."""
        return with_estimated(self.config, self.folder, open_record(self.folder)[0].estimated)


def open_run(folder: str | os.PathLike[str], *, given: bool = False) -> Run:
    """Return the run in `folder`.

    given: whether the operator of its measurements is known. Raises UnveilError when it is not and the run's
    configuration does not tell it, when there is no run, it is damaged or changed, or another version wrote it.
    """
    folder = Path(folder)
    check_name(folder)
    record, config = open_record(folder)
    if record.given and not given:
        raise UnveilError(
            f"{folder}: its operator was given in Python; open it there, unveil.open_run(folder, operator)"
        )
    noise = record.told(folder, config.noise)
    return Run(folder, config, noise, record.channels, record.scales, record.seen, record.never_seen)


def check_name(folder: Path) -> None:
    """Raise UnveilError for names that the libraries behind weights and TensorBoard cannot open."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UnveilError(f"{folder}: is no UTF-8; give the run's folder another name") from None
