"""unveil denoise, and reconstruct: an estimate of each image."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unveil.cli.batch import Layer, file_names, process
from unveil.cli.device import torch_device
from unveil.cli.failures import Failures
from unveil.cli.outputs import open_results, source_files
from unveil.cli.screen import progress_bar, say
from unveil.cli.tables import result_tables, write_tables
from unveil.cli.use import (
    below_zero,
    call_of,
    is_same_grid,
    left_over,
    open_input,
    pictured,
    sky_of,
    warn_of_negative,
    warn_of_unexplained,
    warn_of_unlike,
    with_sets,
)
from unveil.data.like import result_files
from unveil.words import counted

__all__ = ["run_denoise"]


def run_denoise(
    run_folder: Path,
    data: str,
    out: Path,
    sigma: float | None,
    device: str,
    dry_run: bool,
    sets: Sequence[str] = (),
    dtype: Literal["float32", "input"] = "float32",
    force: bool = False,
) -> None:
    failures = Failures()
    run, f, dataset = open_input(run_folder, data, sigma, device, sets, failures)
    source = dataset.source
    config, layers = with_sets(run, sets), [Layer()]
    targets, pictures = result_files(source, is_same_grid(run), sky_of(config)), pictured(dataset)
    tables = result_tables(config, targets, layers, out)
    names = [*file_names(source, targets, layers, pictures), *tables]
    results = open_results(
        out,
        {**call_of("denoise", run, dataset, device, config), "dtype": dtype},
        names,
        source_files(source, config),
        data=Path(data),
        force=force,
        dry_run=dry_run,
    )
    warn_of_unlike(data, run, dataset)
    if dry_run:
        say(f"would denoise {counted(len(source), 'image')} at {dataset.noise} into {out}")
        return
    if results.has(names):
        say(f"all {len(source)} are in {out} already; --force computes them again")
    tiles = [f.tiles(dataset.operator, *source.shape(i)[1:]) for i in range(len(source))]
    ends, left, negative = list(accumulate(tiles)), dict[str, float](), dict[str, float]()
    with progress_bar("denoising") as bar, torch.no_grad():

        def estimate(i: int) -> Tensor:
            f.progress = lambda done: bar(ends[i] - tiles[i] + done, ends[-1])
            m = dataset[i].to(torch_device(device))
            x: Tensor = f(m)
            left[source.name(i)] = left_over(m, x)
            if config.loss.nonnegative:
                negative[source.name(i)] = below_zero(x)
            return x.cpu()

        done, clipped = process(
            source,
            targets,
            layers,
            results,
            estimate,
            failures,
            lambda i: bar(ends[i], ends[-1]),
            pictures=pictures,
            dtype=np.dtype(np.float32) if dtype == "float32" else None,
        )
    if dtype == "input":
        say(f"clipped to the range of the input's type: {counted(clipped, 'value')}")
    warn_of_unexplained(left)
    warn_of_negative(negative)
    if done == len(source):
        write_tables(tables, results)
    if done:
        say(f"open {out}")
    failures.end(done)
