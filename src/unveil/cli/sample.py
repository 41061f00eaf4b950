"""unveil sample: posterior samples of each image."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unveil.cli.device import torch_device
from unveil.cli.screen import progress_bar, say
from unveil.cli.use import NOT_BELOW, open_input, open_run_prior, save_both, value_range, with_sets
from unveil.data import save_image
from unveil.errors import UnveilError
from unveil.evaluation import draw_samples
from unveil.random import make_generator

__all__ = ["run_sample"]


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
                bar(i * total + done, len(source) * total)

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
