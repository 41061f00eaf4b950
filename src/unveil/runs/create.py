"""A run is made: its configuration and data are checked, and what they were when it began is recorded."""

import json
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import nn

import unveil
from unveil.checks import Seen, look, see
from unveil.checks.measurements import contradicted
from unveil.config import Config
from unveil.config_file import located, to_yaml
from unveil.data import atomic_write
from unveil.data.ranges import stored_range
from unveil.errors import UnveilError, warn
from unveil.idle import refuse_idle
from unveil.noise import Noise, OwnNoise
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.records import SEAL, read_json, sealed
from unveil.runs.contents import FILE as CONTENTS
from unveil.runs.contents import read_contents, write_contents
from unveil.runs.estimated import FOLDER as ESTIMATED
from unveil.runs.estimated import digests, estimated_keys, keep_estimated
from unveil.runs.familiar import copies
from unveil.runs.folder import writing
from unveil.runs.learned import check_learnable
from unveil.runs.maps import FOLDER as MAPS
from unveil.runs.maps import keep_maps, same_maps, with_kept_maps
from unveil.runs.noise import find_noise, noise_of, recorded
from unveil.runs.record import FORMAT, difference, open_record
from unveil.runs.room import check_room
from unveil.runs.run import Run, check_name, open_run
from unveil.runs.start import FILE as START
from unveil.runs.start import Start, keep_start, load_start, open_start
from unveil.runs.taught import warn_of_never_seen
from unveil.training.checkpoint import save_weights
from unveil.training.detector import read_maps
from unveil.training.inflation import write_inflation
from unveil.training.ranks import from_first
from unveil.training.recipes import make_loss
from unveil.training.setup import build_estimator, check_form, open_measurements, possible_scales, with_gaps
from unveil.training.stages import Stages, reading

__all__ = ["create_run", "save_run"]

CHOOSE = "choose a new folder with --out"


def create_run(folder: Path, config: Config, *, start: Path | None = None, stages: Stages | None = None) -> Run:
    """Make the run folder, or open it again when it holds the same configuration; all data are read once.

    start: the folder of the run whose weights it starts from (`unveil.runs.start`).
    Of several processes the first does it, once they have been joined (`unveil.training.device`).
    Raises UnveilError when the folder holds another run or other files, or the data cannot be used.
    """
    return from_first(lambda: _create_run(folder, config, start, stages))


def _create_run(folder: Path, config: Config, start: Path | None, stages: Stages | None) -> Run:
    began, weights = (None, b"") if start is None else open_start(start)
    if (folder / "run.json").is_file():
        return _open_same(folder, config, began)
    _check_free(folder, config, began)
    refuse_idle(config, "the configuration")
    source, operator = open_measurements(config)
    # what cannot be made is refused here, before there is a folder
    check_room(config, source.channels, operator.image_shape)
    make_loss(config.loss)
    scales = possible_scales(config, source, operator)
    noise = find_noise(config, source, operator)
    check_form(config, operator, noise.uneven)
    check_learnable(config, noise)
    if start is not None:
        estimator = build_estimator(config, source.channels, operator, noise.uneven)
        load_start(start / "model.safetensors", estimator, f"--from {start}")
    contents = read_contents(source, config, reading(stages))
    if (line := copies(contents)) is not None:
        warn(f"{config.data.path}: {line}")
    for line in contradicted(config.operator.kind, with_gaps(config, source), operator, noise_of(noise, source)):
        warn(f"{config.data.path}: {line}")
    unseen = warn_of_never_seen(config, operator, operator.image_shape or source.shape(0))
    record = {
        **_record(config, noise, source.channels, scales, stored_range(source) if noise.mapped else (0.0, 1.0)),
        "images": len(source),
        "data": contents.fingerprint,
        "seen": see(source, look(source))._asdict(),
        "never_seen": unseen,
    }
    if began is not None:
        record["start"] = began.model_dump()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnveilError(f"{folder}: cannot make the folder ({error.strerror}); choose another one") from None
    with writing(folder):
        if (folder / "run.json").is_file():  # of another process, which was faster
            return _open_same(folder, config, began)
        _check_free(folder, config, began)
        write_contents(folder, contents)
        _write(folder / "config.yaml", to_yaml(with_kept_maps(config, folder), folder))
        keep_maps(folder, read_maps(config.noise, source))
        keep_estimated(folder, config, operator)
        if began is not None:
            keep_start(folder, weights)
        if estimated := digests(folder, config):
            record["estimated"] = estimated
        _write(folder / "run.json", json.dumps(sealed(record), indent=1) + "\n")
    return open_run(folder)


def save_run(
    folder: Path,
    f: nn.Module,
    config: Config,
    operator: Operator,
    noise: Noise | OwnNoise,
    inflation: float,
    never_seen: str | None = None,
    seen: Seen | None = None,
) -> Path:
    """Write a run folder of an estimator that was trained on data in memory, and return it.

    Raises UnveilError where the folder exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UnveilError(f"{folder}: holds files already; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    weights, stored = f.state_dict(), config.data.value_range or (0.0, 1.0)
    channels = operator.measurement_shape[0] if operator.measurement_shape else out_channels(f)
    record = {
        **_record(config, noise, channels, config.loss.scales, stored),
        "images": 0,
        "data": "",
        "given": not isinstance(operator, Identity),
        "never_seen": never_seen,
        "seen": None if seen is None else seen._asdict(),
    }
    with writing(folder):
        atomic_write(folder / "model.safetensors", lambda path: save_weights(path, weights))
        how = config.sampling
        write_inflation(folder, inflation, steps=how.steps, schedule=how.schedule, lowest=how.lowest)
        _write(folder / "config.yaml", to_yaml(with_kept_maps(config, folder), folder))
        if isinstance(noise, Noise) and noise.mapped:
            in_files = noise.scaled(stored[1] - stored[0]).shifted(stored[0])
            keep_maps(folder, {name: getattr(in_files, name) for name in config.noise.maps})
        _write(folder / "run.json", json.dumps(sealed(record), indent=1) + "\n")
    return folder


def out_channels(f: nn.Module) -> int:
    """Return C of the images (C, H, W) that f estimates: as many as its last convolution has."""
    convolutions = [m for m in f.modules() if isinstance(m, nn.Conv2d)]
    return convolutions[-1].out_channels


def _record(
    config: Config, noise: Noise | OwnNoise, channels: int, scales: Sequence[int], stored: tuple[float, float] = (0, 1)
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "unveil": unveil.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "seed": config.seed,
        "noise": recorded(noise) | ({"stored": stored} if noise.mapped else {}),
        "channels": channels,
        "scales": list(scales),
        "config": located(config).model_dump(mode="json"),
        "versions": _versions(),
    }


def _command() -> str:
    """Return the command of this process, as a shell takes it."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # of python -m unveil
    return shlex.join([name, *sys.argv[1:]])


def _open_same(folder: Path, config: Config, start: Start | None) -> Run:
    """Return the run in `folder`.

    Raises UnveilError when its configuration is not `config`.
    """
    run = open_run(folder)
    there = open_record(folder)[0].start
    if (there and there.sha256) != (start and start.sha256):
        words = "weights drawn from its seed" if there is None else f"the weights of {there.run}"
        raise UnveilError(f"{folder}: holds a run that starts from {words}; choose another folder with --out")
    if run.config.noise.maps.keys() == config.noise.maps.keys():
        if not same_maps(folder, config.noise):
            raise UnveilError(f"{folder}: holds a run with other maps of its noise; choose another folder with --out")
        config = with_kept_maps(config, folder)
    if changed := difference(located(run.config), located(config)):
        key, there, here = changed
        raise UnveilError(
            f"{folder}: holds a run with another configuration ({key} is {there} there and {here} here); "
            "choose another folder with --out, or resume it with the configuration it has"
        )
    return run


def _check_free(folder: Path, config: Config, start: Start | None) -> None:
    """Raise UnveilError when `folder` holds files that are not what a kill leaves of this run before its run.json."""
    check_name(folder)
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnveilError(f"{folder}: cannot be listed ({error.strerror}); choose another folder with --out") from None
    if CONTENTS in names and SEAL in read_json(folder / CONTENTS, CHOOSE):
        names.remove(CONTENTS)
    begun = {"config.yaml"}
    if "config.yaml" in names:
        begun |= ({MAPS} if config.noise.maps else set()) | ({ESTIMATED} if estimated_keys(config) else set())
        begun |= {START} if start else set()
    others = [name for name in names if name not in begun]
    if others:
        raise UnveilError(f"{folder}: holds other files ({others[0]}) and no run.json; {CHOOSE}")
    written = folder / "config.yaml"
    if names and written.read_bytes() != to_yaml(with_kept_maps(config, folder), folder).encode():
        raise UnveilError(f"{written}: would be written over, and is not what this run would write; {CHOOSE}")


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
