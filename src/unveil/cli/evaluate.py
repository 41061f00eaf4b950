"""unveil evaluate and report: how good a run's estimates are, as a table and as a page."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from unveil.checks import contradictions, look
from unveil.checks.look import missing
from unveil.checks.measurements import looked_at
from unveil.cli.device import torch_device
from unveil.cli.failures import EXIT_PARTLY, Failures
from unveil.cli.outputs import keep_inputs, open_results, read_manifest, source_files
from unveil.cli.screen import console, figures, metrics_table, progress_bar, say
from unveil.cli.use import NOT_BELOW, call_of, open_input, unlike_training, with_sets
from unveil.config import Config
from unveil.data import ImageSource, open_images
from unveil.dataset import Dataset
from unveil.errors import UnveilError, warn
from unveil.estimators import Tiled
from unveil.evaluation import (
    Evaluation,
    check_reference,
    evaluate,
    model_fit,
    order_by_name,
    pair_by_name,
    reference_contradiction,
)
from unveil.evaluation.evidence import Evidence
from unveil.evaluation.resolution import Unresolved, variance_errors
from unveil.evaluation.turned import energy_kept
from unveil.noise import Noise
from unveil.report import units_of, unknown_errors, write_report, write_results
from unveil.report.kept import picture_files
from unveil.runs import Run, open_run
from unveil.runs.familiar import learned_from
from unveil.runs.folder import writing
from unveil.runs.noise import estimated
from unveil.runs.taught import blind_to
from unveil.training.setup import signal_mean
from unveil.words import counted

WRITTEN = ("report.html", "evaluation.json")
"""Beside images/."""
SEEN = 1e-3
"""Share of missing pixels from which the errors of the others may not be those of all."""
EXIT_NO_FIT = 5
"""The exit code where the noise model does not fit, so that no figure without a reference holds."""

__all__ = ["EXIT_NO_FIT", "evaluate_and_report", "run_evaluate", "run_report"]


def run_evaluate(
    run_folder: Path,
    data: str | None,
    reference: str | None,
    repeat: str | None,
    sampled: int,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> None:
    failures = Failures()
    run, f, dataset = open_input(run_folder, data, sigma, device, sets, failures)
    source = dataset.source
    if sampled and not run.learns_below:
        say(f"no samples: {NOT_BELOW}")
        sampled = 0
    options = run.config.data
    clean, unpaired = None, None
    if reference is not None:
        opened = open_images(reference, axes=options.axes, value_range=options.value_range)
        clean, unpaired = pair_by_name(source, opened)
        check_reference(source, clean, dataset.operator.image_shape)
    again, misnamed = None, None
    if repeat is not None:
        again, misnamed = open_repeat(dataset, run_folder, repeat, sigma, device, sets)
    if dry_run:
        say(f"would evaluate {counted(len(source), 'image')} at {dataset.noise} into {run.folder}")
        return
    dataset, clean, again = readable(dataset, clean, again, failures)
    doubts = [unpaired, misnamed, None if data is None else unlike_training(run, dataset)]
    doubts.append(learned_from(run, None if data is None else dataset.source.raw))
    if clean is not None:
        doubts.append(reference_contradiction(dataset, clean))
    lines = [line for line in doubts if line is not None]
    evaluate_and_report(run, f, dataset, clean, sampled, with_sets(run, sets), seed, device, failures, lines, again)


def open_repeat(
    data: Dataset, run_folder: Path, path: str, sigma: float | None, device: str, sets: Sequence[str]
) -> tuple[Dataset, str | None]:
    """Return the second exposures at `path` in the order of the measurements, and a line where no name told it."""
    _, _, found = open_input(run_folder, path, sigma, device, sets)
    order, line = order_by_name(data.source, found.source, "repeat")
    found = found.subset(order)
    check_reference(data.source, found.source, what="repeat")
    return found, line


def evaluate_and_report(
    run: Run,
    f: nn.Module,
    data: Dataset,
    clean: ImageSource | None,
    sampled: int,
    config: Config,
    seed: int,
    device: str,
    failures: Failures | None = None,
    doubts: Sequence[str] = (),
    repeat: Dataset | None = None,
) -> None:
    """Evaluate with a progress bar, write results and report into the run folder, and print the table.

    What an earlier evaluation wrote goes when the first new result is there.
    doubts: what is known already to make the figures doubtful; what the images contradict is found here.
    """
    failures = failures or Failures()
    incomplete, source = data.operator.unseen > 0, data.source
    noise = None if data.noise.white and not data.noise.uneven else looked_at(data.noise, source)
    said = [] if incomplete else contradictions(look(source), noise)
    if (share := missing(source)) > SEEN:
        left_out = (
            f"{share:.2%} of the pixels are blank, saturated or dead: errors without a reference are of the others"
        )
        doubts = [*doubts, left_out]
    others = [one for one in (clean, None if repeat is None else repeat.source) if one is not None]
    inputs = source_files(source, config) + [file for one in others for file in one.files()]
    keep_inputs(inputs, [run.folder / name for name in WRITTEN])
    pictures = run.folder / "images"
    earlier = read_manifest(pictures)
    if earlier is not None and earlier["call"].get("command") != "evaluate":
        raise UnveilError(
            f"{pictures}: holds results of another command; move them elsewhere, evaluate draws pictures there"
        )
    replace = partial(
        open_results,
        pictures,
        {**call_of("evaluate", run, data, device, config), "seed": seed, "sampled": sampled},
        picture_names(source, sampled, config.sampling.samples),
        inputs,
        force=True,
    )
    replace(dry_run=True)
    with writing(run.folder), progress_bar("evaluating") as bar:
        results = evaluate(
            f,
            data,
            config.sampling,
            reference=clean,
            repeat=repeat,
            sampled=sampled,
            seed=seed,
            device=torch_device(device),
            progress=bar,
            symmetry=energy_kept(config.loss.symmetry),
            mean=signal_mean(config),
            blind=blind_to(run.never_seen, data, config, torch_device(device)),
        )
        found = estimated(run.config) and not incomplete
        errors = variance_errors(data, not isinstance(run.noise, Noise)) if found else [0.0] * len(data)
        units = units_of(config, source)
        unresolved, evidence = Unresolved(errors), Evidence(errors, isinstance(run.noise, Noise), units)
        good = usable(unresolved(evidence(results)), failures, lambda: clear_evaluation(run.folder, replace))
        fit = model_fit(Tiled(f.to(torch_device(device)).eval()), data, seed=seed, device=torch_device(device))
        valid = fit.verdict != "does not fit"
        if not valid and said:  # which is more to the point
            fit, said = dataclasses.replace(fit, reason=said[0]), said[1:]
        doubts = [*doubts, *said]
        rows, means = write_results(
            run.folder, good, doubts, incomplete, fit, unresolved.line, evidence.record, units, evidence.intervals
        )
        page = write_report(run)
    console.print(metrics_table(rows, means, incomplete, valid))
    for line in [*doubts, *unknown_errors(rows, unresolved.line)] if valid else [str(fit), *doubts]:
        warn(line)
    if valid:
        say(str(fit))
    for line in evidence.lines(incomplete) if valid else evidence.figure_lines(False):
        say(line)
    say(f"open {page}")
    figures(json.loads((run.folder / "evaluation.json").read_text()))
    failures.end(len(rows), EXIT_PARTLY if valid else EXIT_NO_FIT)
    if not valid:
        sys.exit(EXIT_NO_FIT)


def picture_names(source: ImageSource, sampled: int, samples: int) -> list[str]:
    """Return the names of all that `write_results` may draw, in RUN/images."""
    names = [source.name(i) for i in range(len(source))]
    kept = [file for i, name in enumerate(names) for file in picture_files(name, samples if i < sampled else 0)]
    return [f"{name}.png" for name in names] + kept


def usable(results: Iterable[Evaluation], failures: Failures, begin: Callable[[], object]) -> Iterator[Evaluation]:
    """Yield those whose estimate is finite; the others are noted, and `begin` is called before the first."""
    begun = False
    for result in results:
        if not result.x_hat.isfinite().all():
            failures.add(UnveilError(f"{result.metrics.name}: its estimate contains NaN or infinite values"))
            continue
        if not begun:
            begin()
            begun = True
        yield result
    if not begun:
        failures.end(0)


def clear_evaluation(folder: Path, replace: Callable[[], object]) -> None:
    """Remove what an earlier evaluation wrote.

    The report and the figures first, so that they never speak of other pictures.
    """
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)
    replace()


def readable(
    data: Dataset, clean: ImageSource | None, repeat: Dataset | None, failures: Failures
) -> tuple[Dataset, ImageSource | None, Dataset | None]:
    """Return what is left of the measurements, their references and repeats when those that cannot be read go."""
    good = []
    for i in range(len(data)):
        try:
            data.source.read(i)
            good.append(i)
        except UnveilError as error:
            failures.add(error)
    if len(good) == len(data):
        return data, clean, repeat
    if not good:
        failures.end(0)
    left = (None if one is None else one.subset(good) for one in (clean, repeat))
    return data.subset(good), *left  # type: ignore[return-value]


def run_report(run_folder: Path) -> None:
    run = open_run(run_folder)
    read = ("config.yaml", "run.json", "evaluation.json", "metrics.jsonl")
    keep_inputs([run.folder / name for name in read], [run.folder / "report.html"])
    with writing(run.folder):
        page = write_report(run)
    say(f"open {page}")
