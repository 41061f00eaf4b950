"""How often are intervals learned without a truth right? Photographs, cells and slices, in five kinds of noise.

    python benchmarks/intervals.py --photographs BSD400 --slices DIR --work DIR --json OUT

A network learns from images that were measured once, as benchmarks/evidence.py has it (photographs: the same networks);
all figures are of tiles of --side pixels of images that it did not learn from. Cells are scikit-image's
(`unveil.data.cells`), slices the PNG files in DIR/train and DIR/test.

covers        how often the 95% interval of one tile's PSNR covers the true one, of --draws measurements
conformal     how often the error of a tile is below its bound, learned from half of them, and tried on the others
pixels        the share of pixels inside their calibrated intervals of 50, 80, 90 and 95%, learned from the samples and
              the measurements of half of --sampled tiles, and tried on the others, and the other way round; and inside
              the samples' own intervals; coverage_se: by how tiles differ; level_se: as it is told without the truth;
              how the fits came out (`unveil.evaluation.pixelwise`), and the samples' variance over the squared error,
              at all of the exposure, as it is estimated, its standard error, and by the truth
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from below_noise import in_memory, measure
from calibration import centre
from common import parser, write
from evidence import BATCH, conformal, intervals
from noise import CASES, moved, trained, training_options
from unveil.data import MemorySource
from unveil.data.cells import heldout_cells, training_cells
from unveil.diffusion import posterior_samples
from unveil.evaluation.calibrated import shown_record, shown_verdict
from unveil.evaluation.components import quantiles
from unveil.evaluation.conformal import LEVELS
from unveil.evaluation.interval import Error
from unveil.evaluation.pixelwise import Spreads, fit_intervals, spreads
from unveil.evaluation.risk import estimate_risk
from unveil.evaluation.shown import Shown, shown_samples
from unveil.measurement import Estimator, Measurement
from unveil.noise import Noise
from unveil.operators import Identity
from unveil.random import make_generator

CHOSEN = ",".join(
    f"{what}:{family}"
    for what, families in {
        "photographs": ("gaussian:0.1", "poisson:2", "poisson:10", "gamma:4"),
        "cells": ("gaussian:0.1", "poisson:10"),
        "slices": ("gaussian:0.1", "poisson:10"),
    }.items()
    for family in families
)
SMALL = 128
"""Pixels, the side of the training cells: six images are too few to choose from."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--photographs", required=True, metavar="DIR", help="clean images, more than 100")
    options.add_argument("--slices", required=True, metavar="DIR", help="its folders train and test")
    options.add_argument("--cases", default=CHOSEN)
    options.add_argument("--draws", type=int, default=100, help="measurements, tiles in turn; 0: pixels alone")
    options.add_argument("--sampled", type=int, default=32, help="tiles; 0: no pixels")
    options.add_argument("--samples", type=int, default=6)
    options.add_argument("--evaluations", type=int, default=10)
    options.add_argument("--side", type=int, default=64, help="of the tiles, pixels")
    training_options(options, 200)
    options = options.parse_args()
    options.near = None
    torch.set_num_threads(options.threads)
    table: dict[str, Any] = {}
    for case in options.cases.split(","):
        what, family = case.split(":", 1)
        noise = CASES[family]
        shift = float(getattr(noise, "offset", 0.0))
        learned, x = images(what, options)
        clean = moved(learned, shift)
        key = f"{what}/{family}/known"
        f, _ = trained(key, "known", noise, noise, clean, measure(clean, noise, options.seed), options)
        table[f"{what}/{family}"] = figures(f.eval(), x + shift, noise, options)
        print(case, table[f"{what}/{family}"], flush=True)
        write(options.json, options, {"side": options.side, "cases": table})


def images(what: str, options) -> tuple[MemorySource, Tensor]:
    """What is learned from, and tiles of others (N, C, side, side)."""
    if what == "photographs":
        every = in_memory(options.photographs)
        tried = [centre(every.read(i), options.side) for i in range(100, len(every))]
        return MemorySource({every.name(i): every.read(i) for i in range(100)}), torch.stack(tried)
    if what == "cells":
        cut = {f"{name} {k}": x for name, one in training_cells().items() for k, x in enumerate(tiles(one, SMALL))}
        return MemorySource(cut), torch.cat([tiles(one, options.side) for one in heldout_cells().values()])
    train, test = (in_memory(str(Path(options.slices) / part)) for part in ("train", "test"))
    chosen = {train.name(i): train.read(i) for i in range(0, len(train), 2)}
    return MemorySource(chosen), torch.cat([tiles(centre(test.read(i), 128), options.side) for i in range(len(test))])


def tiles(x: Tensor, side: int) -> Tensor:
    return x.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).reshape(-1, len(x), side, side)


@torch.no_grad()
def figures(f: Estimator, x: Tensor, noise: Noise, options) -> dict[str, Any]:
    generator = make_generator("cpu", options.seed, 60)
    truths, errors = [], []
    for first in range(0, options.draws, BATCH):
        which = torch.arange(first, min(first + BATCH, options.draws)) * 7 % len(x)
        m = Measurement(noise.sample(x[which], generator), Identity(), noise)
        x_hat = f(m)
        risk = estimate_risk(f, m, generator, x_hat=x_hat)
        truths += (x_hat - x[which]).square().flatten(1).mean(1).tolist()
        errors += [Error(float(error), float(se)) for error, se in zip(risk.error, risk.se)]
    found: dict[str, Any] = {"conformal": conformal(errors, truths), **intervals(errors, truths)} if errors else {}
    return found | ({"pixels": pixels(f, x, noise, generator, options)} if options.sampled else {})


def pixels(f: Estimator, x: Tensor, noise: Noise, generator: torch.Generator, options) -> dict[str, Any]:
    chosen = x[:: max(1, len(x) // options.sampled)][: options.sampled]
    shown: list[Shown] = []
    seen: list[tuple[Spreads, Tensor, Tensor]] = []
    for one in chosen.split(1):
        m = Measurement(noise.sample(one, generator), Identity(), noise)
        x_hat = f(m)
        samples = posterior_samples(f, m, generator, samples=options.samples, steps=options.evaluations)
        shown.append(shown_samples(m, x_hat, samples, estimate_risk(f, m, generator, x_hat=x_hat)))
        own = torch.stack([(one[0] >= low) & (one[0] <= high) for low, high in own_intervals(samples[:, 0])])
        seen.append((spreads(samples[:, 0], shown[-1]), (one - x_hat)[0].abs(), own))
    inside, fits = [], []
    for learned, tried in ((seen[::2], seen[1::2]), (seen[1::2], seen[::2])):
        fit = fit_intervals([one for one, _, _ in learned])
        fits.append(fit)
        if fit is None:
            return {"told": False}
        for one, off, _ in tried:
            inside.append([float((off <= fit.reach(one.own, level)).double().mean()) for level in LEVELS])
    shares, record = torch.tensor(inside, dtype=torch.double), shown_record(shown)
    spread = sum(float(one.spread.double().sum()) for one in shown)
    return {
        "told": True,
        "coverage": dict(zip(map(str, LEVELS), shares.mean(0).tolist())),
        "coverage_se": dict(zip(map(str, LEVELS), (shares.std(0) / len(shares) ** 0.5).tolist())),
        "level_se": dict(zip(map(str, LEVELS), fits[0].level_se)),
        "own": dict(
            zip(map(str, LEVELS), torch.stack([own.double().mean((1, 2, 3)) for _, _, own in seen]).mean(0).tolist())
        ),
        "fits": [asdict(fit) for fit in fits],
        "spread_over_error": record["spread_over_error"],
        "spread_over_error_se": record["spread_over_error_se"],
        "spread_over_error_true": spread / sum(float(off.double().square().sum()) for _, off, _ in seen),
        "verdict": shown_verdict(shown)._asdict(),
    }


def own_intervals(samples: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [quantiles(samples, level) for level in LEVELS]


if __name__ == "__main__":
    main()
