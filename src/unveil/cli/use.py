"""What the commands that use a trained run share: the run, its estimator and the measurements it is given."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

import unveil
from unveil.cli.device import torch_device
from unveil.cli.failures import Failures
from unveil.cli.outputs import input_identity, source_files
from unveil.config import LEAST_SIGMA, MOST_SIGMA, Config, override, parse_config
from unveil.data import ImageSource
from unveil.errors import UnveilError, warn
from unveil.estimators import PreconditionedDenoiser, Tiled
from unveil.identify import look, out_of_range, see
from unveil.identify.contradictions import common_level, other_level
from unveil.problem import DENOISING, Problem, Several
from unveil.training import Run, open_run
from unveil.training.setup import indices, open_measurements

__all__ = [
    "NOT_BELOW", "call_of", "is_same_grid", "open_input", "open_run_prior", "pictured", "unlike_training", "warn_of_unlike",
    "with_sets",
]  # fmt: skip

NOT_BELOW = (
    "its recipe teaches no noise level below the measured one, through which samples go; train with risk.recipe=default or "
    "refine.rounds=1"
)


def open_input(
    run_folder: Path,
    data: str | None,
    sigma: float | None,
    device: str,
    sets: Sequence[str] = (),
    failures: Failures | None = None,
) -> tuple[Run, nn.Module, Problem | Several, ImageSource, float]:
    """The run, its estimator on `device`, the measurements (the run's held-out ones by default), their problem and level.

    failures: told of files that cannot be opened; None: the first one raises.
    """
    if sigma is not None and not LEAST_SIGMA <= sigma <= MOST_SIGMA:
        raise UnveilError(
            f"--sigma {sigma}: must be > 0, the noise's standard deviation on the data's [0, 1] scale; between {LEAST_SIGMA:g} and "
            f"{MOST_SIGMA:g}"
        )
    run = open_run(run_folder)
    if data is None:
        run.check_data("give INPUT")
        _, source, problem = run.measurements()
        problem = problem.subset(indices(source))
    else:
        source, problem = open_measurements(with_sets(run, sets), data, None if failures is None else failures.add)
    if source.channels != run.channels:
        raise UnveilError(
            f"{data}: has {source.channels} channel(s), and {run_folder} was trained on {run.channels}; convert the images, "
            "or train on images like these"
        )
    f = run.estimator(problem).to(torch_device(device))
    if problem is DENOISING:
        f = Tiled(f)
    return run, f, problem, source, sigma or run.sigma_n


def warn_of_unlike(data: str, run: Run, source: ImageSource, level: float) -> None:
    """What `unlike_training` finds in the measurements at `data`, before work begins."""
    if (line := unlike_training(run, source, level)) is not None:
        warn(f"{data}: {line}")


def unlike_training(run: Run, source: ImageSource, level: float) -> str | None:
    """A line where the measurements are not on the scale of those that the run was trained on, or not at the level given."""
    seen, images = run.seen, look(source, damaged="skip")
    if seen is None or not images:
        return None
    if (line := out_of_range(seen, see(source, images))) is not None or run.config.system.kind != "identity":
        return line
    found = common_level(list(images.values()))
    return None if found is None else other_level(found, level, f"--sigma {found:.2g} states it")


def open_run_prior(run: Run, problem: Problem | Several, device: str) -> PreconditionedDenoiser | None:
    """The prior of the images under which samples are drawn, on `device`, where the run learned one."""
    prior = run.prior(problem)
    return None if prior is None else prior.to(torch_device(device))


def with_sets(run: Run, sets: Sequence[str]) -> Config:
    """The run's configuration with overrides, and the gain fitted when training ended.

    Of its sampling, and of its system: other measurements have other masks, and defoci.
    """
    for text in sets:
        if not text.startswith(("sampling.", "system.")):
            raise UnveilError(
                f"--set {text}: the run is trained; only sampling.* can change, e.g. sampling.steps=50, and system.* for INPUT"
            )
    config = parse_config(override(run.config.model_dump(mode="json"), sets), "--set")
    if isinstance(config.sampling.gain, str):
        return config.model_copy(update={"sampling": config.sampling.model_copy(update={"gain": run.gain})})
    return config


SAME_GRID = ("identity", "inpainting", "demosaicing", "blur", "cryoem")
"""Systems whose images have the pixels of their measurements, and so their size and units."""


def is_same_grid(run: Run) -> bool:
    return run.config.system.kind in SAME_GRID


def pictured(problem: Problem | Several, source: ImageSource) -> bool:
    """Whether the images have a number of channels that a PNG has."""
    return (problem.image_shape[0] if problem.image_shape else source.channels) in (1, 3)


def call_of(command: str, run: Run, source: ImageSource, level: float, device: str, config: Config) -> dict[str, Any]:
    """What results depend on: the weights, the measurements and their system, the level and the machine's kind."""
    weights = hashlib.sha256()
    for name in ("model.safetensors", "prior.safetensors"):
        if (run.folder / name).is_file():
            weights.update((run.folder / name).read_bytes())
    return {
        "command": command,
        "unveil": unveil.__version__,
        "weights": weights.hexdigest(),
        "data": input_identity(source, source_files(source, config)),
        "value_range": run.config.data.value_range,
        "system": config.system.model_dump(mode="json"),
        "sigma": level,
        "device": torch_device(device).type,
    }
