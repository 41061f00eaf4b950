"""What the commands that use a trained run share: the run, its estimator and the measurements it is given."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import unveil
from unveil.checks import look, out_of_range, see
from unveil.checks.contradictions import common_level, other_level
from unveil.cli.device import torch_device
from unveil.cli.failures import Failures
from unveil.cli.outputs import input_identity, source_files
from unveil.config import Config, parse_config
from unveil.config_file import override
from unveil.data import ImageSource
from unveil.data.like_fits import Sky
from unveil.data.uvfits import observations
from unveil.dataset import Dataset
from unveil.errors import UnveilError, warn
from unveil.estimators import Tiled
from unveil.instruments.registry import INSTRUMENTS
from unveil.measurement import Measurement
from unveil.noise import Noise, OwnNoise
from unveil.noise.base import together
from unveil.noise.gaussian import Gaussian
from unveil.noises import LEAST_SIGMA, MOST_SIGMA
from unveil.operators.base import Operator
from unveil.runs import Run, open_run
from unveil.runs.noise import find_noise, noise_of, recorded
from unveil.training.setup import instrument, open_measurements, with_gaps
from unveil.words import counted

__all__ = [
    "NOT_BELOW", "below_zero", "call_of", "is_same_grid", "left_over", "open_input", "pictured",
    "sky_of", "unlike_training", "warn_of_negative", "warn_of_unexplained", "warn_of_unlike", "with_sets",
]  # fmt: skip

UNEXPLAINED = 10.0
"""Times the variance of the noise. Of an estimate that fits it is 1; of visibilities with their gains it was 1,900."""

NEGATIVE = 0.05
"""Share of the energy of an estimate. Of sources seen by the Event Horizon Telescope .007 at most (1,500 steps)."""

NOT_BELOW = (
    "its recipe teaches no noise level below the measured one, through which samples go; train with "
    "loss.recipe=default and loss.normalized above 0, with loss.camera above 0 where the instrument leaves something "
    "out, or with em.rounds=1 where it does not"
)


def open_input(
    run_folder: Path,
    path: str | None,
    sigma: float | None,
    device: str,
    sets: Sequence[str] = (),
    failures: Failures | None = None,
) -> tuple[Run, Tiled, Dataset]:
    """Return the run, its estimator on `device`, and the measurements (the run's held-out ones by default).

    failures: told of files that cannot be opened; None: the first one raises.
    """
    if sigma is not None and not LEAST_SIGMA <= sigma <= MOST_SIGMA:
        raise UnveilError(
            f"--sigma {sigma}: must be > 0, the noise's standard deviation on the data's [0, 1] scale; between "
            f"{LEAST_SIGMA:g} and {MOST_SIGMA:g}"
        )
    run = open_run(run_folder)
    noise, config = run.noise, with_sets(run, sets)
    if sigma is not None:
        if not isinstance(noise, Gaussian) or noise.mapped:
            raise UnveilError(
                f"--sigma {sigma:g}: the run's noise is {recorded(noise)['kind']}, {noise}, and has no one level"
            )
        noise = Gaussian(sigma)
    if path is None:
        for text in sets:
            if not text.startswith("sampling."):
                raise UnveilError(
                    f"--set {text}: the run's own measurements are as its config.yaml says; give INPUT for others, or "
                    "leave it out"
                )
        run.check_data("give INPUT")
        data = run.measurements()[1]
        data = data if sigma is None else replace(data, noise=Gaussian(sigma))
    else:
        source, operator = open_measurements(config, path, None if failures is None else failures.add)
        if any(text.startswith("noise.") for text in sets):
            noise = find_noise(config, source, operator)
        data = with_noise(source, operator, noise, failures)
        data = replace(data, source=with_gaps(config, data.source))
    if data.source.channels != run.channels:
        raise UnveilError(
            f"{path}: has {counted(data.source.channels, 'channel')}, and {run_folder} was trained on {run.channels}; "
            "convert the images, or train on images like these"
        )
    return run, Tiled(run.estimator(data.operator).to(torch_device(device))), data


def with_noise(
    source: ImageSource, operator: Operator, noise: Noise | OwnNoise, failures: Failures | None = None
) -> Dataset:
    """Return the measurements with their noise, which is found in each image where its parameters are its own.

    failures: told of images in which it cannot be found, which are left out; None: the first one raises.
    """
    if isinstance(noise, Noise):
        return Dataset(source, operator, noise.corrected)
    if failures is None:
        return Dataset(source, operator, noise_of(noise, source))
    found, kept = [], []
    for i in range(len(source)):
        try:
            found.append(noise_of(noise, source.subset([i])))
        except UnveilError as error:
            failures.add(error)
            continue
        kept.append(i)
    if not kept:
        failures.end(0)
    return Dataset(source.subset(kept), operator.select(torch.tensor(kept)), together(found))


def warn_of_unlike(path: str, run: Run, data: Dataset) -> None:
    """Warn of what `unlike_training` finds in the measurements at `path`, before work begins."""
    if (line := unlike_training(run, data)) is not None:
        warn(f"{path}: {line}")


def unlike_training(run: Run, data: Dataset) -> str | None:
    """Return a line where the measurements are not like those that the run was trained on, else None.

    Where they are not on the scale of those, or not at the level given.
    """
    source = data.source.raw
    if observations(source):
        return None  # each weighs its visibilities by its own noise, and UVFITS has one unit
    seen, images = run.seen, look(source, damaged="skip")
    if seen is None or not images:
        return None
    if (line := out_of_range(seen, see(source, images))) is not None or data.operator.unseen:
        return line
    level, found = data.noise.fixed_level, common_level(list(images.values()))
    return None if found is None or level is None else other_level(found, level, f"--sigma {found:.2g} states it")


def left_over(m: Measurement, x: Tensor) -> float:
    """Return |y - A x|^2 / m over the variance of the noise, of one measurement and x (1, *image); 0 if A sees all."""
    if not m.operator.unseen:
        return 0.0
    return float((m.mean_square(m.y - m.predict(x)) / m.level**2)[0])


def warn_of_unexplained(left: Mapping[str, float]) -> None:
    """Warn of the measurements, by name, that their estimates leave unexplained."""
    if not left or (worst := max(left.values())) <= UNEXPLAINED:
        return
    many = sum(value > UNEXPLAINED for value in left.values())
    warn(
        f"{max(left, key=left.__getitem__)}: what its estimate leaves unexplained is {worst:.2g} times the noise's "
        f"variance ({many} of {len(left)} leave more than {UNEXPLAINED:g} times): the measurements are not as they are "
        "described (calibration, coils, mask, level), or the training was too short"
    )


def below_zero(x: Tensor) -> float:
    """Return the share of the energy of images that is in negative values; 0 of an empty one."""
    return float(x.clamp(max=0).square().sum() / x.square().sum().clamp_min(torch.finfo(x.dtype).tiny))


def warn_of_negative(shares: Mapping[str, float]) -> None:
    """Warn of estimates, by name, of which more is negative than images that cannot be would leave."""
    if not shares or (worst := max(shares.values())) <= NEGATIVE:
        return
    warn(
        f"{max(shares, key=shares.__getitem__)}: {worst:.0%} of the energy of its estimate is negative, and the run "
        "was told that images cannot be (loss.nonnegative): train with loss.nonnegative=false if they can"
    )


def with_sets(run: Run, sets: Sequence[str]) -> Config:
    """Return the run's configuration with overrides, and the gain fitted when training ended.

    Of its sampling, and of its system and noise: other measurements have other masks, and exposures.
    """
    for text in sets:
        if not text.startswith(("sampling.", "operator.", "noise.")):
            raise UnveilError(
                f"--set {text}: the run is trained; only sampling.* can change, e.g. sampling.steps=50, and operator.* "
                "and noise.* for INPUT"
            )
    values = run.config.model_dump(mode="json")
    if run.config.noise.kind == "auto" and any(text.startswith("noise.") for text in sets):
        values["noise"] = {"kind": recorded(run.noise)["kind"]}  # as it was found; the keys are those of its family
    config = parse_config(override(values, sets), "--set")
    if isinstance(config.sampling.inflation, str):
        return config.model_copy(update={"sampling": config.sampling.model_copy(update={"inflation": run.inflation})})
    return config


def is_same_grid(run: Run) -> bool:
    """Return whether images have the pixels of their measurements, and so their size and units."""
    return instrument(run.config).same_grid


def sky_of(config: Config) -> Sky | None:
    """Return what the images stand for, where they are of the sky; else None."""
    units = INSTRUMENTS[config.operator.kind].units(config.operator)
    return Sky(units.pixel, units.high) if units.pixel is not None and units.pixel_unit == "µas" else None


def pictured(data: Dataset) -> bool:
    """Return whether the images have a number of channels that a PNG has, or are complex, and it shows the modulus."""
    shape = data.operator.image_shape
    return data.source.channels in (1, 3) if shape is None else shape[0] in (1, 2, 3)


def call_of(command: str, run: Run, data: Dataset, device: str, config: Config) -> dict[str, Any]:
    """Return what results depend on.

    The weights, the measurements and their system, the level and the machine's kind.
    """
    weights = hashlib.sha256(run.weights.read_bytes())
    return {
        "command": command,
        "unveil": unveil.__version__,
        "weights": weights.hexdigest(),
        "data": input_identity(data.source, source_files(data.source, config)),
        "value_range": run.config.data.value_range,
        "operator": config.operator.model_dump(mode="json"),
        "noise": recorded(data.noise),
        "device": torch_device(device).type,
    }
