"""unveil train: start a run, or go on with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from unveil.cli.device import torch_device
from unveil.cli.outputs import config_files, keep_inputs
from unveil.cli.screen import figures, say
from unveil.config import Config
from unveil.config_file import load_config, to_yaml
from unveil.errors import Elsewhere, UnveilError
from unveil.progress import progress_bars, staged
from unveil.report.learning import expected_words, outlook
from unveil.runs import Run, create_run, open_run, train_run
from unveil.runs.record import open_record
from unveil.runs.room import check_room
from unveil.training import Interrupted, build_estimator, latest_checkpoint
from unveil.training.device import join
from unveil.training.logs import read_metrics
from unveil.training.ranks import from_first, is_first, leave, together
from unveil.training.setup import instrument, open_measurements, split
from unveil.words import counted

__all__ = ["run_train", "train_with_bar"]


def run_train(
    config_or_run: Path,
    out: Path | None,
    sets: Sequence[str],
    seed: int | None,
    device: str,
    dry_run: bool,
    weights_of: Path | None = None,
) -> None:
    join(device)
    if weights_of is not None and config_or_run.is_dir():
        raise UnveilError(f"{config_or_run}: a run resumes as it began; give its config.yaml with --from, and --out")
    with together():
        folder, config = _read(config_or_run, out, sets, seed)
        torch_device(device)
    if dry_run:
        if is_first():
            describe(config, folder)
        return
    with progress_bars() as start:
        run = create_run(folder, config, start=weights_of, stages=staged(start))
    if from_first(run.trained):
        say(f"{folder} is trained already; next: unveil evaluate {folder}")
        figures(trained(folder))
        return
    train_with_bar(run, device)
    leave()
    if (learned := open_record(folder)[0].learned) is not None:
        say(learned.why)
    for line in ending(folder, config):
        say(line)
    say(f"trained; next: unveil evaluate {folder}")
    figures(trained(folder))


def trained(folder: Path) -> dict[str, Any]:
    """Return what a finished training says of itself, for JSON.

    The folder, what the last validation found, and what twice the steps would bring, dB.
    """
    validations = [line for line in read_metrics(folder) if "error" in line]
    found = outlook(validations)
    twice = None
    if found is not None:
        gain, low = (None, None) if found.reason else found.decibels
        twice = {"steps": found.steps, "gain": gain, "low": low, "reason": found.reason}
    return {"run": str(folder), "validation": validations[-1] if validations else None, "twice_the_steps": twice}


def ending(folder: Path, config: Config) -> list[str]:
    """Return what to say of a training that has ended: that it was early, and what going on would bring."""
    lines, said = read_metrics(folder), []
    if lines and lines[-1]["step"] < config.training.steps:
        validated = [line for line in lines if "error" in line]
        best = min(validated, key=lambda line: line["error"])
        said.append(
            f"training ended at step {lines[-1]['step']} of {config.training.steps}: its last "
            f"{config.training.patience} validations show no gain; the weights are those of step {best['step']}"
        )
    elif (found := outlook(lines)) is not None:
        said.append(expected_words(found))
    return said


def _read(config_or_run: Path, out: Path | None, sets: Sequence[str], seed: int | None) -> tuple[Path, Config]:
    """Return the run's folder, and its configuration."""
    if config_or_run.is_dir():
        if sets or seed is not None or out is not None:
            raise UnveilError(f"{config_or_run}: a run resumes as it began; for other settings train its config.yaml")
        run = open_run(config_or_run)
        return run.folder, run.config
    seeds = [] if seed is None else [f"seed={seed}"]
    folder, config = out or Path("runs") / config_or_run.stem, load_config(config_or_run, [*sets, *seeds])
    if not (folder / "run.json").is_file():  # else it is not written again
        keep_inputs([config_or_run, *config_files(config)], [folder / "config.yaml"])
    return folder, config


def describe(config: Config, folder: Path) -> None:
    """Print what a run would do."""
    source, operator = open_measurements(config)
    check_room(config, source.channels, operator.image_shape)
    training, held_out = split(source, config)
    estimator = build_estimator(config, source.channels, operator)
    parameters = sum(p.numel() for p in estimator.parameters())
    say(to_yaml(config))
    say(
        f"would train {parameters:,} parameters on {counted(len(training), 'image')} of "
        f"{counted(source.channels, 'channel')}, validate on {len(held_out)}, and write {folder}; nothing written",
    )


def train_with_bar(run: Run, device: str) -> nn.Module:
    """Train or resume with a progress bar for each stage; Ctrl-C says how to go on."""
    newest = latest_checkpoint(run.folder / "checkpoints")
    if newest is not None:
        say(f"resuming {run.folder}, which has reached {newest.name}")
    if instrument(run.config).sees_all and run.scales != run.config.loss.scales:
        say(f"the images are small: block means of sides {list(run.scales)} only")
    with progress_bars() as start:
        try:
            return train_run(run, device=device, stages=staged(start))
        except Interrupted as stop:
            if not is_first():
                raise Elsewhere(str(stop), code=stop.code) from None
            raise Interrupted(f"{stop}; resume with unveil train {run.folder}", stop.signum) from None
