"""The run folder: all that it takes to repeat a run, and to use what it learned.

config.yaml          the configuration
run.json             versions, seed, command, noise level, and what the configuration and the data were when it began
data.json            the hash of each file's content
metrics.jsonl        one line a step; tensorboard/ has the same
round-1/, ...        the same of each round of the iterated recipe, and its draws of the training set
sampler.json         the gain fitted to the trained network
checkpoints/         the newest two, for resuming
model.safetensors    the averaged weights, once training is done
prior.safetensors    of incomplete measurements after rounds: a denoiser of the images, under which samples are drawn
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

import unveil
from unveil.config import Config, located, to_yaml
from unveil.data import ImageSource, Measured, atomic_write
from unveil.errors import UnveilError, warn
from unveil.estimators import PreconditionedDenoiser
from unveil.identify import Seen, look, see
from unveil.identify.instrument import instrument_contradictions
from unveil.noise import estimate_common_sigma
from unveil.problem import DENOISING, Problem, Several
from unveil.records import SEAL, read_json, sealed
from unveil.training.checkpoint import latest_checkpoint, load_weights, read_weights, save_weights
from unveil.training.contents import FILE as CONTENTS
from unveil.training.contents import check_contents, numbers_then, open_contents, read_contents, write_contents
from unveil.training.device import join
from unveil.training.folder import writing
from unveil.training.gain import fit_to_images, read_gain
from unveil.training.imaging import learn_imaging, open_prior
from unveil.training.imaging_recipes import make_imaging_risk
from unveil.training.learn import learn
from unveil.training.loop import Progress
from unveil.training.ranks import from_first, is_first, together
from unveil.training.recipes import make_risk
from unveil.training.record import FORMAT, difference, open_record
from unveil.training.room import check_room
from unveil.training.setup import (
    WITHOUT_ESTIMATE,
    build_estimator,
    build_reconstruction,
    indices,
    open_measurements,
    open_problem,
    open_source,
    possible_coarsening,
    signal_mean,
    split,
)
from unveil.training.stages import Stages

__all__ = ["Run", "create_run", "open_run", "train_run"]

IMAGES_FOR_SIGMA = 64


@dataclass(frozen=True)
class Run:
    """A run on disk.

    folder: where it is. config: what it was asked to do. sigma_n: the measurements' noise level on the data's
    [0, 1] scale. channels: C of its images. dilation: the block sizes that its images are large enough for. seen: the types
    and the range of their values, where they are recorded.
    """

    folder: Path
    config: Config
    sigma_n: float
    channels: int
    dilation: tuple[int, ...]
    seen: Seen | None = None

    @property
    def trained_max(self) -> float:
        """The highest noise level that training visits."""
        return self.sigma_n * self.config.risk.levels[1]

    @property
    def learns_below(self) -> bool:
        """Whether anything taught the levels below sigma_n, through which posterior samples go."""
        config = self.config
        renormalized = config.risk.recipe == "default" and config.risk.renormalized > 0
        return config.system.kind == "identity" or renormalized or config.refine.rounds > 0

    @property
    def gain(self) -> float:
        """The gain of the sampler `dpm2m`: stated, or fitted when training ended."""
        stated = self.config.sampling.gain
        return read_gain(self.folder) if isinstance(stated, str) else stated

    def check_data(self, else_do: str) -> None:
        """Raises UnveilError, which ends with `else_do`, when the data are not where the run's configuration says."""
        path = self.config.data.path
        if not Path(path).exists():
            raise UnveilError(
                f"{path} does not exist, the data.path of {self.folder / 'config.yaml'} (there relative to {self.folder}): put "
                f"the data there, mend the path, or {else_do}"
            )

    def measurements(
        self, stages: Stages | None = None, *, to_train: bool = False
    ) -> tuple[ImageSource, ImageSource, Problem | Several]:
        """(training images, held-out images, the problem of all of them, in their order): those that the run began with.

        to_train: as the one that may write the run folder. Raises UnveilError when they are not there, or have changed; of some that are gone a warning is given.
        """
        self.check_data("start a new run")
        config, recorded = self.config, open_contents(self.folder)
        if recorded.fingerprint != open_record(self.folder)[0].data:
            raise UnveilError(f"{self.folder / CONTENTS}: of another run than run.json; restore it, or start a new run")
        source = open_source(config)
        numbers = numbers_then(recorded, source, config)
        problem = open_problem(config, source, recorded.images)
        if len(numbers) < recorded.images:
            problem = problem.subset(numbers)
            if to_train and any(self.folder.glob("round-*")):
                raise UnveilError(
                    f"{config.data.path}: put back what is gone: the draws of the rounds are of all files"
                )
        measured = Measured(source, problem)
        seen = check_contents(recorded, measured, config, _reading(stages))
        if to_train and is_first() and seen != recorded:  # what was read now need not be read at the next resume
            write_contents(self.folder, seen)
        return *split(measured, config, recorded.images, numbers), problem

    def trained(self) -> bool:
        """Whether training has ended. Damaged weights, of which a warning is given, can be made again from a checkpoint.

        Raises UnveilError when they are damaged, and there is none.
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
        """What to do when the weights are damaged."""
        if latest_checkpoint(self.folder / "checkpoints") is None:
            return "restore it or train again"
        return f"unveil train {self.folder} makes it again from the last checkpoint"

    def estimator(self, problem: Problem | Several = DENOISING) -> nn.Module:
        """f(y, sigma) with the trained weights, on the CPU. Raises UnveilError when training has not finished.

        problem: of the measurements that it will be given, `open_problem`'s.
        """
        if not self.weights.is_file():
            raise UnveilError(f"{self.folder}: not trained to the end; finish with unveil train {self.folder}")
        estimator = build_estimator(self.config, self.channels, problem)
        load_weights(self.weights, estimator, self._mend())
        return estimator.eval()

    def prior(self, problem: Problem | Several) -> PreconditionedDenoiser | None:
        """D(x, s) of the images, on the CPU, where rounds of refinement learned one from measurements by `problem`; else None."""
        if problem.image_shape is None or not self.config.refine.rounds:
            return None
        return open_prior(self.folder, self.config, problem.image_shape[0], signal_mean(self.config))


def create_run(folder: Path, config: Config, *, stages: Stages | None = None) -> Run:
    """Make the run folder, or open it again when it holds the same configuration; all data are read once.

    Of several processes the first does it, once they have been joined (`unveil.training.device`).
    Raises UnveilError when the folder holds another run or other files, or the data cannot be used.
    """
    return from_first(lambda: _create_run(folder, config, stages))


def _create_run(folder: Path, config: Config, stages: Stages | None) -> Run:
    if (folder / "run.json").is_file():
        return _open_same(folder, config)
    _check_free(folder, config)
    source, problem = open_measurements(config)
    check_room(config, source.channels, problem.image_shape)
    if problem is DENOISING:  # a risk that cannot be made is refused here, before there is a folder
        make_risk(config.risk)
    else:
        first = problem.at(torch.zeros(1, dtype=torch.long))
        make_imaging_risk(config.risk, first, first)
        level = noise_level(config, source, problem)
        for line in instrument_contradictions(config.system.kind, source, problem, level):
            warn(line)
    dilation = possible_dilation(config, source) if problem is DENOISING else possible_coarsening(config, problem)
    contents = read_contents(source, config, _reading(stages))
    record = {
        "format": FORMAT,
        "unveil": unveil.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seed": config.seed,
        "sigma_n": noise_level(config, source, problem),
        "channels": source.channels,
        "dilation": list(dilation),
        "images": len(source),
        "data": contents.fingerprint,
        "seen": see(source, look(source))._asdict(),
        "config": located(config).model_dump(mode="json"),
        "versions": _versions(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnveilError(f"{folder}: cannot make the folder ({error.strerror}); choose another one") from None
    with writing(folder):
        if (folder / "run.json").is_file():  # of another process, which was faster
            return _open_same(folder, config)
        _check_free(folder, config)
        write_contents(folder, contents)
        _write(folder / "config.yaml", to_yaml(config, folder))
        _write(folder / "run.json", json.dumps(sealed(record), indent=1) + "\n")
    return open_run(folder)


def _open_same(folder: Path, config: Config) -> Run:
    """The run in `folder`. Raises UnveilError when its configuration is not `config`."""
    run = open_run(folder)
    if changed := difference(located(run.config), located(config)):
        key, there, here = changed
        raise UnveilError(
            f"{folder}: holds a run with another configuration ({key} is {there} there and {here} here); "
            "choose another folder with --out, or resume it with the configuration it has"
        )
    return run


def noise_level(config: Config, source: ImageSource, problem: Problem | Several) -> float:
    """sigma_n: as the configuration states it, else as the instrument's description tells it, else as found in the data.

    Raises UnveilError where it cannot be found.
    """
    stated, data = config.noise.sigma, config.data
    if not isinstance(stated, str):
        return stated
    if isinstance(problem, Problem) and problem.level is not None:
        low, high = data.value_range or (0.0, 1.0)
        return problem.level / (high - low)
    if config.system.kind in WITHOUT_ESTIMATE:
        raise UnveilError(
            f"noise.sigma: the level cannot be estimated from measurements by {config.system.kind}; add --set noise.sigma=..., on "
            "the scale of the measurements"
        )
    chosen = range(0, len(source), max(1, len(source) // IMAGES_FOR_SIGMA))
    found = estimate_common_sigma((source.read(i) for i in chosen), [source.where(i) for i in chosen])
    if not found > 0:
        raise UnveilError(f"{data.path}: no noise found in the images; state noise.sigma, the level you know")
    return found


def possible_dilation(config: Config, source: ImageSource) -> tuple[int, ...]:
    """The block sizes whose windows fit the smallest image. Raises UnveilError when not even a crop does."""
    sides = [min(source.shape(i)[1:]) for i in range(len(source))]
    smallest = min(sides)
    dilation = tuple(k for k in config.risk.dilation if k * config.training.crop <= smallest)
    if not dilation:
        raise UnveilError(
            f"{source.where(sides.index(smallest))}, the smallest image, has {smallest} pixels across, less than the crop of "
            f"{config.training.crop}; lower training.crop, or leave it out"
        )
    return dilation


def open_run(folder: str | os.PathLike[str]) -> Run:
    """The run in `folder`. Raises UnveilError when there is none, it is damaged or changed, or another version wrote it."""
    folder = Path(folder)
    _check_name(folder)
    record, config = open_record(folder)
    return Run(folder, config, record.sigma_n, record.channels, record.dilation, record.seen)


def train_run(run: Run, *, device: str = "auto", stages: Stages | None = None) -> nn.Module:
    """Train, or go on training, the run's estimator; its averaged weights are saved and returned.

    Raises UnveilError when another process writes the run, when the data are not those that it began with, and what
    `learn` raises.
    """
    join(device)
    with ExitStack() as held:
        with together():
            held.enter_context(writing(run.folder))
        return _train(run, device, stages)


def _train(run: Run, device: str, stages: Stages | None) -> nn.Module:
    config = run.config
    with together():
        training, held_out, problem = run.measurements(stages, to_train=True)
    if problem is DENOISING:
        risk = config.risk.model_copy(update={"dilation": run.dilation})
        estimator = learn(
            build_estimator(config, run.channels),
            training,
            held_out,
            run.sigma_n,
            config.model_copy(update={"risk": risk}),
            run.folder,
            device=device,
            stages=stages,
        )
    else:
        estimator = learn_imaging(
            build_reconstruction(config, problem),
            training,
            problem.subset(indices(training)),
            held_out,
            problem.subset(indices(held_out)),
            run.sigma_n,
            config,
            run.folder,
            device=device,
            stages=stages,
        )
    if run.learns_below and run.prior(problem) is None:  # under a learned prior of the images the exact solver draws
        held_out_problem = problem.subset(indices(held_out))
        from_first(lambda: fit_sampler(run, estimator, held_out, held_out_problem, device, stages))
    weights = {name: value.detach() for name, value in estimator.state_dict().items()}
    from_first(lambda: atomic_write(run.weights, lambda path: save_weights(path, weights)))
    return estimator


def fit_sampler(
    run: Run,
    estimator: nn.Module,
    held_out: ImageSource,
    problem: Problem | Several,
    device: str,
    stages: Stages | None,
) -> None:
    """Fit the gain of the sampler to measurements by `problem`, where the configuration asks for it; the run folder records it."""
    config = run.config
    if config.sampling.solver == "dpm2m" and config.sampling.gain == "fit":
        progress = None if stages is None else stages("fitting the sampler")
        if progress is not None:
            progress(0, 1, {})
        fit_to_images(
            estimator,
            held_out,
            run.sigma_n,
            config.sampling.steps,
            config.seed,
            join(device).device,
            record=run.folder,
            schedule=config.sampling.schedule,
            lowest=config.sampling.lowest,
            problem=problem,
        )
        estimator.cpu()
        if progress is not None:
            progress(1, 1, {})


def _check_name(folder: Path) -> None:
    """Raises UnveilError for names that the libraries behind weights and TensorBoard cannot open."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UnveilError(f"{folder}: is no UTF-8; give the run's folder another name") from None


def _check_free(folder: Path, config: Config) -> None:
    """Raises UnveilError when `folder` holds files that are not what a kill leaves of this run before its run.json."""
    _check_name(folder)
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnveilError(f"{folder}: cannot be listed ({error.strerror}); choose another folder with --out") from None
    if CONTENTS in names and SEAL in read_json(folder / CONTENTS, CHOOSE):
        names.remove(CONTENTS)
    others = [name for name in names if name != "config.yaml"]
    if others:
        raise UnveilError(f"{folder}: holds other files ({others[0]}) and no run.json; {CHOOSE}")
    written = folder / "config.yaml"
    if names and written.read_bytes() != to_yaml(config, folder).encode():
        raise UnveilError(f"{written}: would be written over, and is not what this run would write; {CHOOSE}")


CHOOSE = "choose a new folder with --out"


def _reading(stages: Stages | None) -> Callable[[int, int], object] | None:
    """Progress of reading the data, which begins once some are read."""
    if stages is None:
        return None
    progress: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not progress:
            progress.append(stages("reading the data"))
        progress[0](done, total, {})

    return show


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("torch", "deepinv", "accelerate", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _write(path: Path, text: str) -> None:
    atomic_write(path, lambda partial: partial.write_text(text, encoding="utf-8"))
