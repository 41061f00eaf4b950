"""unveil evaluate and report: how good a run's estimates are, as a table and as a page."""

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from unveil.cli.device import torch_device
from unveil.cli.screen import console, figures_table, progress_bar, say
from unveil.cli.use import NOT_BELOW, open_input, open_run_prior, with_sets
from unveil.config import Config
from unveil.data import ImageSource, open_images
from unveil.evaluation import evaluate
from unveil.problem import DENOISING, Problem, Several
from unveil.report import write_report, write_results
from unveil.training import Run, open_run
from unveil.training.folder import writing

__all__ = ["evaluate_and_report", "run_evaluate", "run_report"]


def run_evaluate(
    run_folder: Path,
    data: str | None,
    reference: str | None,
    sampled: int,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> None:
    run, f, problem, source, level = open_input(run_folder, data, sigma, device, sets)
    if sampled and not run.learns_below:
        say(f"no samples: {NOT_BELOW}")
        sampled = 0
    options = run.config.data
    clean = None if reference is None else open_images(reference, axes=options.axes, value_range=options.value_range)
    if dry_run:
        say(f"would evaluate {len(source)} images at sigma {level:.4g} into {run.folder}")
        return
    evaluate_and_report(run, f, source, level, clean, sampled, with_sets(run, sets), seed, device, problem)


def evaluate_and_report(
    run: Run,
    f: nn.Module,
    source: ImageSource,
    level: float,
    clean: ImageSource | None,
    sampled: int,
    config: Config,
    seed: int,
    device: str,
    problem: Problem | Several = DENOISING,
) -> None:
    """Evaluate with a progress bar, write results and report into the run folder, and print the table."""
    with writing(run.folder), progress_bar("evaluating") as bar:
        results = evaluate(
            f,
            source,
            level,
            config.sampling,
            reference=clean,
            sampled=sampled,
            seed=seed,
            device=torch_device(device),
            progress=bar,
            problem=problem,
            prior=open_run_prior(run, problem, device),
        )
        rows, means = write_results(run.folder, results)
        page = write_report(run)
    console.print(figures_table(rows, means))
    unknown = sum(math.isnan(row.psnr_estimate) for row in rows)
    if unknown:
        say(
            f"of {unknown} image(s) the estimated error is not positive: the noise is weaker than noise.sigma, or not white "
            "(detectors blur it: see unveil whiten; resampling and demosaicing do too), or the image has too few pixels",
        )
    say(f"open {page}")


def run_report(run_folder: Path) -> None:
    run = open_run(run_folder)
    with writing(run.folder):
        page = write_report(run)
    say(f"open {page}")
