"""unveil denoise, sample, evaluate and report: what a trained run is for."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.cli.device import torch_device
from unveil.cli.screen import console, figures_table, progress_bar, say
from unveil.config import Config, override, parse_config
from unveil.data import ImageSource, open_images, save_image
from unveil.errors import UnveilError
from unveil.estimators import PreconditionedDenoiser, Tiled
from unveil.evaluation import draw_samples, evaluate
from unveil.problem import DENOISING, Problem, Several
from unveil.random import make_generator
from unveil.report import write_report, write_results
from unveil.risks import told
from unveil.training import Run, open_run
from unveil.training.setup import indices, open_problem, open_source, split

__all__ = ["evaluate_and_report", "run_denoise", "run_evaluate", "run_report", "run_sample"]


NOT_BELOW = (
    "its recipe teaches no noise level below the measured one, through which samples go; train with risk.recipe=default or "
    "refine.rounds=1"
)


def run_denoise(
    run_folder: Path,
    data: str,
    out: Path,
    sigma: float | None,
    device: str,
    dry_run: bool,
    sets: Sequence[str] = (),
) -> None:
    run, f, problem, source, level = open_input(run_folder, data, sigma, device, sets)
    if dry_run:
        say(f"would denoise {len(source)} images at sigma {level:.4g} into {out}")
        return
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("denoising") as bar, torch.no_grad():
        for i in range(len(source)):
            y = source.read(i)[None].to(torch_device(device))
            part = problem.at(torch.tensor([i], device=y.device))
            x_hat = told(f, part)(y, torch.full((1,), level, device=y.device))[0].cpu()
            save_both(out / source.name(i), x_hat, run)
            bar(i + 1, len(source))
    say(f"open {out}")


def run_sample(
    run_folder: Path,
    data: str,
    out: Path,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> None:
    run, f, problem, source, level = open_input(run_folder, data, sigma, device, sets)
    if not run.learns_below:
        raise UnveilError(f"{run_folder}: {NOT_BELOW}")
    sampling = with_sets(run, sets).sampling
    if dry_run:
        say(
            f"would draw {sampling.samples} samples of each of {len(source)} images at sigma {level:.4g} by "
            f"{sampling.solver} in {sampling.steps} steps into {out}",
        )
        return
    prior = open_run_prior(run, problem, device)
    with progress_bar("sampling") as bar:
        for i in range(len(source)):
            y = source.read(i)[None].to(torch_device(device))
            generator = make_generator(y.device, seed, i)

            def show(done: int, total: int, i: int = i) -> None:
                bar(i * total + done, len(source) * total, source.name(i))

            part = problem.at(torch.tensor([i], device=y.device))
            samples = draw_samples(f, y, level, sampling, generator, show, part, prior)[:, 0].cpu()
            folder = out / source.name(i)
            folder.mkdir(parents=True, exist_ok=True)
            for k, x in enumerate(samples):
                save_both(folder / f"sample_{k:03d}", x, run)
            save_both(folder / "mean", samples.mean(0), run)
            if len(samples) > 1:
                low, high = value_range(run)
                save_image(folder / "deviation.tif", samples.std(0) * (high - low))
    say(f"open {out}")


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
    with progress_bar("evaluating") as bar:
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
    say(f"open {write_report(open_run(run_folder))}")


def open_input(
    run_folder: Path, data: str | None, sigma: float | None, device: str, sets: Sequence[str] = ()
) -> tuple[Run, nn.Module, Problem | Several, ImageSource, float]:
    """The run, its estimator on `device`, the measurements (the run's held-out ones by default), their problem and level."""
    if sigma is not None and not 0 < sigma < float("inf"):
        raise UnveilError(f"--sigma {sigma}: must be > 0, the noise's standard deviation on the data's [0, 1] scale")
    run = open_run(run_folder)
    if data is None:
        whole = open_source(run.config)
        source = split(whole, run.config)[1]
        problem = open_problem(run.config, whole).subset(indices(source))
    else:
        options = run.config.data
        source = open_images(data, dataset=options.dataset, axes=options.axes, value_range=options.value_range)
        problem = open_problem(with_sets(run, sets), source)
    if source.channels != run.channels:
        raise UnveilError(
            f"{data}: has {source.channels} channel(s), and {run_folder} was trained on {run.channels}; convert the images, "
            "or train on images like these"
        )
    f = run.estimator(problem).to(torch_device(device))
    if problem is DENOISING:
        f = Tiled(f)
    return run, f, problem, source, sigma or run.sigma_n


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
    config = parse_config(override(json.loads(run.config.model_dump_json()), sets), "--set")
    if isinstance(config.sampling.gain, str):
        return config.model_copy(update={"sampling": config.sampling.model_copy(update={"gain": run.gain})})
    return config


def save_both(stem: Path, x: Tensor, run: Run) -> None:
    """x (C, H, W) as float32 TIFF in the measurements' units and, for 1 or 3 channels, as PNG."""
    low, high = value_range(run)
    save_image(stem.with_name(stem.name + ".tif"), low + (high - low) * x)
    if x.shape[0] in (1, 3):
        save_image(stem.with_name(stem.name + ".png"), x)


def value_range(run: Run) -> tuple[float, float]:
    """What 0 and 1 are in the measurements' units: data.value_range, or themselves."""
    return run.config.data.value_range or (0.0, 1.0)
