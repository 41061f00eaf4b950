"""unveil denoise, and reconstruct: an estimate of each image."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unveil.cli.device import torch_device
from unveil.cli.screen import progress_bar, say
from unveil.cli.use import open_input, save_both
from unveil.risks import told

__all__ = ["run_denoise"]


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
