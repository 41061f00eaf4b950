"""Is noise that is correlated found, or refused, and white noise never taken for it? What `choose_noise` says of both.

Sets of clean images in simulated noise: white (Gaussian, counted photons, a camera's, speckle), where the family should
be found; and correlated: blurred, by the correlation of neighbours, in stripes, demosaiced, shared between channels;
and blurred counts, which no family here fits. Each row: in how many sets the family was found; in how many it was said
that none fits; in how many another was found, which is wrong. Of those found the median of the relative error of the
level, its 90% quantile, and the share within two stated errors. Images: photographs, cells and tissue that scikit-image
ships, and its textures without flat parts (grass, gravel, brick). Thresholds were chosen on the first 60 photographs of
BSD400; --first 200 looks at others.

    python benchmarks/correlated_check.py --test DIR --first 200 --workers 4 \
        --json benchmarks/results/correlated_check.json
"""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import torch
from torch import Tensor

from common import in_processes, parser
from estimate_check import Measure, camera, counts, gaussian, microscopes, speckle
from robustness import demosaic
from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.noise import Correlated, choose_noise
from unveil.random import make_generator

SIZE = 4
LEVELS = (0.03, 0.1)
BLURS = {0.05: 0.01, 0.1: 0.02, 0.2: 0.05, 0.36: 0.13, 0.6: 0.3}
"""Kernels: the values beside and diagonal to the middle one, 1."""


class Case(NamedTuple):
    """kind: of the family that should be found; None: none fits. sigma: the level that should be."""

    measure: Measure
    kind: str | None
    sigma: float | None = None


def neighbours(beside: float, diagonal: float) -> Tensor:
    kernel = [[diagonal, beside, diagonal], [beside, 1.0, beside], [diagonal, beside, diagonal]]
    return torch.tensor(kernel, dtype=torch.float64)


def correlated(sigma: float, kernel: Tensor | None = None, **shares: float) -> Measure:
    noise = Correlated(torch.tensor(sigma, dtype=torch.float64), kernel, **shares)
    return lambda x, r: noise.sample(x[None], make_generator("cpu", int(r.integers(2**31))))[0]


def demosaiced(sigma: float) -> Measure:
    return lambda x, r: demosaic((x + sigma * torch.from_numpy(r.standard_normal(x.shape))).float()).double()


def blurred_counts(peak: float, kernel: Tensor) -> Measure:
    """Counts that a detector spreads to neighbours: the noise is blurred, the image is taken to be what it is then."""

    def measure(x: Tensor, r: np.random.Generator) -> Tensor:
        e = torch.from_numpy(r.standard_normal(x.shape))[None]
        e = torch.nn.functional.conv2d(e, kernel[None, None] / kernel.norm(), padding=1)[0]
        return x + (x / peak).sqrt() * e

    return measure


def shared(sigma: float, correlation: float) -> Measure:
    """Three channels of a grey image, whose noise correlates."""

    def measure(x: Tensor, r: np.random.Generator) -> Tensor:
        own, common = r.standard_normal((3, *x.shape[1:])), r.standard_normal(x.shape)
        return x + sigma * torch.from_numpy((1 - correlation) ** 0.5 * own + correlation**0.5 * common)

    return measure


def cases() -> dict[str, Case]:
    found = {f"white, {s}": Case(gaussian(s), "gaussian", s) for s in (0.02, 0.05, 0.1)}
    found |= {f"counts, {p} at white": Case(counts(p), "poisson") for p in (2, 10, 100)}
    found |= {f"speckle, {k} looks": Case(speckle(k), "gamma") for k in (1, 4, 16)}
    found |= {
        f"camera, {p} at white": Case(camera(g, r, p), "poisson-gaussian") for g, r, p in ((2, 2, 20), (2, 2, 200))
    }
    for s in LEVELS:
        for b, d in BLURS.items():
            kernel = neighbours(b, d)
            noise = Correlated(s, kernel)
            name = f"blurred, correlation {float(noise.correlation(1, 2)[0, 1]):.2f}, level {s}"
            found[name] = Case(correlated(s, kernel), "correlated", s)
        for share in (0.1, 0.3):
            found[f"rows share {share}, level {s}"] = Case(correlated(s, rows=share), "correlated", s)
            found[f"columns share {share}, level {s}"] = Case(correlated(s, columns=share), "correlated", s)
        found[f"demosaiced, level {s}"] = Case(demosaiced(s), "correlated", 0.625**0.5 * s)
        for rho in (0.3, 0.6, 0.9):
            found[f"channels correlate by {rho}, level {s}"] = Case(shared(s, rho), "correlated", s)
    for p in (10, 100):
        for b in (0.2, 0.36):
            found[f"counts, {p} at white, blurred by {b}"] = Case(blurred_counts(p, neighbours(b, BLURS[b])), None)
    return found


def textures() -> list[Tensor]:
    images = [getattr(skimage.data, name)() for name in ("grass", "gravel", "brick")]
    return [torch.from_numpy(x[i : i + 256, :256] / 255.0)[None] for i in (0, 256) for x in images]


def row(about: str, sets: list[list[Tensor]], name: str, seed: int) -> tuple[str, dict[str, Any]]:
    torch.set_num_threads(1)
    case, line, off, within = cases()[name], {"found": 0, "none fits": 0, "wrong": 0}, [], []
    for i, images in enumerate(sets):
        noisy = [case.measure(x, np.random.default_rng((seed, i, j))).float() for j, x in enumerate(images)]
        try:
            found = choose_noise(noisy)
        except UnveilError:
            line["none fits"] += 1
            continue
        if found.doubt is not None:
            line["none fits"] += 1
        elif found.kind == case.kind and found.each is None:
            line["found"] += 1
            if case.sigma is not None:
                error = found.parameters["sigma"] - case.sigma
                off.append(abs(error) / case.sigma)
                within.append(abs(error) <= 2 * found.errors["sigma"])
        else:
            line["wrong"] += 1
    if off:
        line["level"] = {
            "median_error": round(float(np.median(off)), 4),
            "q90_error": round(float(np.quantile(off, 0.9)), 4),
            "within_two": round(float(np.mean(within)), 3),
        }
    return f"{about}, {len(sets[0])} a set, {name}", {"sets": len(sets), **line}


def jobs(photographs: list[Tensor], options: argparse.Namespace) -> Iterator[tuple[str, list[list[Tensor]], str]]:
    found = {"photographs": photographs, "microscopes": microscopes(), "textures": textures()}
    for about in options.about.split(","):
        images = found[about]
        n = min(SIZE, len(images) // 2)
        sets = [images[i * n : (i + 1) * n] for i in range(min(options.sets, len(images) // n))]
        for name in cases():
            yield about, sets, name


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options.add_argument("--first", type=int, default=0, help="number of the first one that is used")
    options.add_argument("--about", default="photographs,microscopes,textures", help="which images")
    options.add_argument("--sets", type=int, default=8, help="of each row at most")
    options.add_argument("--workers", type=int, default=1, help="processes")
    options = options.parse_args()
    source = open_images(options.test)
    in_processes(row, jobs([source.read(i).double() for i in range(options.first, len(source))], options), options)


if __name__ == "__main__":
    main()
