"""M87* of 2017 (EHT Collaboration 2019, https://doi.org/10.3847/2041-8213/ab0ec7) and of 2018 (EHT Collaboration 2024,
https://doi.org/10.1051/0004-6361/202347932), by the commands of examples/m87.md.

    python benchmarks/m87.py --run runs/m87 --data DIR --work DIR --picture docs/m87.png --json OUT

--data: network-calibrated UVFITS files, one a day and band (https://github.com/eventhorizontelescope/2019-D01-01, and
2024-D01-01).
--run: trained as examples/m87.md says, on simulated sources at the coverage of one of them. Each file is calibrated,
and its image estimated and sampled, by `unveil calibrate`, `denoise` and `sample`. Then, from the FITS images:

ring         diameter in microarcseconds, brightness of its south over that of its north, and where it is brightest, in
             degrees east of north (`ring.py`)
chi2         reduced chi^2 of closure phases and of log closure amplitudes, with 2% of each visibility in their noise
bands        of each two of a day: root mean square, over pixels, of the difference of their estimates, over the
             deviation that the samples of both give it: 1 where they differ as their samples say

--scans and --without leave some of each observation out: that many scans are kept, spread evenly, and no pair with that
station. The same is done with simulated crescents of which the truth is known, with random phases and gains of 10% for
each station in each scan (--truths of them, by the coverage of the first file): PSNR, diameter and ratio beside the
truth's.
"""

import json
import math
import re
import statistics
import subprocess
import sys
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from astropy.io import fits
from torch import Tensor

from common import parser, write
from ring import measure
from unveil.instruments.interferometry.averages import average_scans, scans_of
from unveil.instruments.interferometry.closures import closures
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.gains import corrupt
from unveil.instruments.interferometry.simulated import (
    SYSTEMATIC,
    Observation,
    model_visibilities,
    read_observation,
    simulate,
)
from unveil.instruments.interferometry.uvfits import read_uvfits
from unveil.instruments.interferometry.uvfits_write import write_uvfits
from unveil.random import make_generator
from unveil.runs import open_run


def unveil(*words: str | Path) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "unveil", *map(str, words)], check=True, capture_output=True, text=True
    )
    print(done.stdout, done.stderr, flush=True)
    return done.stdout


def imaged(run: Path, data: Path, work: Path, name: str, seed: int) -> dict[str, Any]:
    """Figures of one observation; "images": its estimate and samples (1 + S, H, W), jansky per pixel, north up."""
    file = work / f"{name}.uvfits"
    found = json.loads(unveil("calibrate", run, data, "--out", file, "--seed", str(seed), "--force", "--json"))
    sets = ["--set", f"operator.uvfits={file}", "--set", f"noise.sigma={found['sigma']}"]
    estimate, samples = work / f"{name}_estimate", work / f"{name}_samples"
    unveil("denoise", run, file, "--out", estimate, *sets, "--force")
    unveil("sample", run, file, "--out", samples, *sets, "--seed", str(seed), "--force")
    paths = [estimate / f"{name}.fits", *sorted((samples / name).glob("sample_*.fits"))]
    x = torch.from_numpy(np.stack([fits.getdata(path).astype(np.float64)[::-1] for path in paths]))
    section = open_run(run).config.operator
    coverage, visibilities = read_uvfits(file)
    model = model_visibilities(coverage, x[:, None], section.field_of_view, 1.0)
    closed = closures(coverage, visibilities)
    phases, amplitudes = (t.tolist() for t in closed.chi2(model))
    pixel = section.field_of_view / section.pixels
    rings = [figures(image, pixel) for image in x]
    return {
        "visibilities": len(coverage),
        "closures": closed.counts,
        "calibration": {key: found[key] for key in ("reduced_chi2_of_nearest", "gains")},
        "flux": float(x[0].sum()),
        "estimate": {"chi2": [phases[0], amplitudes[0]], "ring": rings[0]},
        "samples": {
            "chi2": [statistics.median(t[1:]) for t in (phases, amplitudes)],
            "ring": {
                key: {"mean": statistics.mean(column), "deviation": statistics.stdev(column)}
                for key in rings[0]
                for column in [[ring[key] for ring in rings[1:] if ring[key] is not None]]
                if len(column) > 1
            },
        },
        "images": x,
    }


def left(data: Path, work: Path, scans: int | None, without: str | None) -> Path:
    """Write what is left of an observation, in `scans` of its scans, of stations other than `without`; its path."""
    if scans is None and without is None:
        return data
    coverage, visibilities = read_uvfits(data)
    number = scans_of(coverage)
    last = int(number.max())
    kept = torch.linspace(0, last, last + 1 if scans is None else scans).round().long()
    keep = torch.isin(number, kept) & torch.tensor([without not in pair for pair in coverage.pairs])
    which = keep.nonzero()[:, 0]
    pairs = tuple(coverage.pairs[i] for i in which.tolist())
    part = Coverage(coverage.u[which], coverage.v[which], coverage.sigma[which], pairs, coverage.times[which])
    file = work / f"left_{data.name}"
    write_uvfits(file, part, visibilities[which], data)
    return file


def figures(x: Tensor, pixel: float) -> dict[str, float | None]:
    """What `measure` finds; None where it finds no ring."""
    return {key: value if math.isfinite(value) else None for key, value in asdict(measure(x, pixel)).items()}


def truths(run: Path, data: Path, work: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Simulated sources, seen as `data` was and corrupted by stations, imaged as it is."""
    section, found = open_run(run).config.operator, []
    seen = read_observation(data, section.field_of_view)
    generator = make_generator("cpu", seed, 87)
    x, brightness = simulate(seen, section.pixels, count, generator)
    for k in range(count):
        file = work / f"observed_{k}.uvfits"
        observed(brightness * x[k], seen, data, file, section.field_of_view, generator)
        result = imaged(run, file, work, f"truth_{k}", seed)
        image, truth = result.pop("images")[0], brightness * x[k, 0].double()
        error = (aligned(image, truth) - truth).square().mean()
        pixel = section.field_of_view / section.pixels
        found.append({**result, "psnr": float(10 * (truth.max() ** 2 / error).log10()), "truth": figures(truth, pixel)})
    return found


def observed(
    x: Tensor, seen: Observation, data: Path, file: Path, field_of_view: float, generator: torch.Generator
) -> None:
    """Write x (1, H, W), jansky per pixel, as `data` would have seen it, corrupted by stations, to `file`."""
    coverage, _ = average_scans(*read_uvfits(data))
    v = model_visibilities(coverage, x[None], field_of_view, 1.0)[0]
    length, shortest = torch.hypot(coverage.u, coverage.v), torch.hypot(seen.coverage.u, seen.coverage.v).min()
    v = v + (seen.flux - float(x.sum())) * (length < shortest)  # a jet wider than the image
    noise = torch.view_as_complex(torch.randn(2, len(v), 2, generator=generator, dtype=torch.float64))
    noisy = v * (1 + SYSTEMATIC * noise[0]) + coverage.sigma * noise[1]
    write_uvfits(file, coverage, corrupt(coverage, noisy, generator), data)


def aligned(x: Tensor, truth: Tensor) -> Tensor:
    """x, moved by whole pixels to where it is most like the truth: no closure quantity knows where the source is."""
    moved = [x.roll((i, j), (0, 1)) for i in range(-4, 5) for j in range(-4, 5)]
    return min(moved, key=lambda t: float((t - truth).square().sum()))


def agreement(one: Tensor, other: Tensor) -> float:
    spread = (one[1:].var(0) + other[1:].var(0)).mean()
    return float(((one[0] - aligned(other[0], one[0])).square().mean() / spread).sqrt())


def draw(path: Path, images: dict[str, Tensor], field: float, results: dict[str, Any]) -> None:
    """A row for each observation: the estimate, two samples, and the deviation of all, on a scale of its own."""
    figure, rows = plt.subplots(len(images), 4, figsize=(8.4, 2.2 * len(images)), squeeze=False)
    half = field / 2
    for number, (row, (name, x)) in enumerate(zip(rows, images.items())):
        top, deviation = float(x[:3].max()), x[1:].std(0)
        tops = (top, top, top, float(deviation.max()))
        titles = ("estimate", "sample", "sample", "deviation of samples")
        for axis, image, title, most in zip(row, (x[0], x[1], x[2], deviation), titles, tops):
            axis.imshow(image, cmap="afmhot", vmin=0, vmax=most, extent=(half, -half, -half, half))
            axis.set_title(title if number == 0 else "", fontsize=9)
            axis.tick_params(labelsize=6)
        row[3].text(0.96, 0.04, f"up to {tops[3] / top:.0%}", transform=row[3].transAxes, ha="right", color="w", size=7)
        ring = results[name]["estimate"]["ring"]
        row[0].set_ylabel(f"{name}\n{ring['diameter']:.0f} µas", fontsize=8)
    rows[-1][0].set_xlabel("east of the centre, µas", fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    for name in ("--run", "--data", "--work"):
        options.add_argument(name, type=Path, required=True)
    options.add_argument("--picture", type=Path)
    options.add_argument("--truths", type=int, default=2)
    options.add_argument("--scans", type=int, help="of each observation that are kept; default: all")
    options.add_argument("--without", metavar="STATION", help="a station that is left out")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    originals = sorted(options.data.glob("*.uvfits"))
    files = [left(file, options.work, options.scans, options.without) for file in originals]
    results, images = {}, {}
    for file in files:
        day, band = re.search(r"_(\d{3})_(lo|hi|b\d)_", file.name).groups()
        results[name := f"{day} {band}"] = imaged(options.run, file, options.work, f"m87_{day}_{band}", options.seed)
        images[name] = results[name].pop("images")
    record = {
        "training": open_run(options.run).config.model_dump(mode="json", include={"training", "loss", "estimator"}),
        "observations": results,
        "bands": {
            f"{one}, {other}": agreement(images[one], images[other])
            for one, other in combinations(sorted(images), 2)
            if one.split()[0] == other.split()[0]
        },
        "truths": truths(options.run, files[0], options.work, options.truths, options.seed) if options.truths else [],
    }
    write(options.json, options, record)
    if options.picture:
        draw(options.picture, images, open_run(options.run).config.operator.field_of_view, results)


if __name__ == "__main__":
    main()
