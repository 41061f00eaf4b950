"""unveil sample: posterior samples of each image."""

from collections.abc import Sequence
from pathlib import Path

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
    NOT_BELOW,
    call_of,
    is_same_grid,
    left_over,
    open_input,
    pictured,
    sky_of,
    warn_of_unexplained,
    warn_of_unlike,
    with_sets,
)
from unveil.data.like import result_files
from unveil.errors import UnveilError
from unveil.estimators import knows_camera
from unveil.evaluation import draw_samples
from unveil.random import make_generator
from unveil.words import counted

__all__ = ["run_sample"]

UNSEEN = (
    "what {kind} does not see stands at its mean in every sample: the samples spread by less than the estimate errs, "
    "by .06 to .7 "
    "of it in trials; of a network trained with loss.camera=1 they spread there too"
)


def run_sample(
    run_folder: Path,
    data: str,
    out: Path,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
    force: bool = False,
) -> None:
    failures = Failures()
    run, f, dataset = open_input(run_folder, data, sigma, device, sets, failures)
    source = dataset.source
    if not run.learns_below:
        raise UnveilError(f"{run_folder}: {NOT_BELOW}")
    config = with_sets(run, sets)
    sampling = config.sampling
    layers = [Layer(f"sample_{k:03d}") for k in range(sampling.samples)] + [Layer("mean")]
    if sampling.samples > 1:
        layers.append(Layer("deviation", spread=True))
    targets, pictures = result_files(source, is_same_grid(run), sky_of(config)), pictured(dataset)
    tables = result_tables(config, targets, layers, out)
    names = [*file_names(source, targets, layers, pictures), *tables]
    results = open_results(
        out,
        {
            **call_of("sample", run, dataset, device, config),
            "sampling": sampling.model_dump(mode="json"),
            "seed": seed,
        },
        names,
        source_files(source, config),
        data=Path(data),
        force=force,
        dry_run=dry_run,
    )
    warn_of_unlike(data, run, dataset)
    if dataset.operator.unseen and knows_camera(f) is None:
        say(UNSEEN.format(kind=config.operator.kind))
    if dry_run:
        say(
            f"would draw {counted(sampling.samples, 'sample')} of each of {counted(len(source), 'image')} at "
            f"{dataset.noise} in {sampling.steps} steps into {out}",
        )
        return
    if results.has(names):
        say(f"all {len(source)} are in {out} already; --force draws them again")
    left: dict[str, float] = {}
    with progress_bar("sampling") as bar:

        def draw(i: int) -> Tensor:
            m = dataset[i].to(torch_device(device))
            generator = make_generator(m.y.device, seed, i)

            def show(done: int, total: int) -> None:
                bar(i * total + done, len(source) * total)

            x = draw_samples(f, m, sampling, generator, show)[:, 0]
            left[source.name(i)] = left_over(m, x.mean(0, keepdim=True))
            x = x.cpu()
            more = [x.mean(0, keepdim=True)] + ([x.std(0, keepdim=True)] if len(x) > 1 else [])
            return torch.cat([x, *more])

        done, _ = process(
            source,
            targets,
            layers,
            results,
            draw,
            failures,
            lambda i: None,
            pictures=pictures,
            dtype=np.dtype(np.float32),
        )
    warn_of_unexplained(left)
    if done == len(source):
        write_tables(tables, results)
    if done:
        say(f"open {out}")
    failures.end(done)
