"""How well `unveil.noise.estimate.choose_noise` finds the noise of images: family, parameters, and their stated errors.

Sets of clean images in simulated noise: white and Gaussian, counted photons (their number at white), speckle (looks),
counts of which each image was stretched by itself, and a camera's (gain, offset 100, read noise, rounded to whole
numbers). Each row: in how many sets the family was right, and in how many none was said to fit; of the right ones the
median of the relative error, its 90% quantile, and the share within two stated errors. Every parameter of a camera's
whose images hold no dark background is known within bounds alone: its error is then that of what is assumed. The same
beside a dark half hold one. Of one brightness, photographs' mean, are flat fields: noise alone. The thresholds were
chosen on the first 200 photographs of BSD400.

    python benchmarks/estimate_check.py --test DIR --first 200 --json benchmarks/results/estimate_check.json
"""

import argparse
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn.functional import pad

from common import in_processes, parser
from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.noise.estimate import choose_noise

LEVELS = (0.02, 0.05, 0.1, 0.2)
PEAKS = (2, 10, 100, 1000)
LOOKS = (1, 2, 4, 16)
OFFSET, BRIGHTNESS = 100.0, 0.44
CAMERAS = ((0.5, 1, 100), (0.5, 5, 1000), (2, 2, 20), (2, 2, 200), (2, 2, 1000), (5, 1, 50), (5, 5, 300))
"""Gain, read noise, photons at white."""

STRETCHED = ((20, 0, 0.0), (5, 1.5, 0.2), (40, 1.5, 0.2), (200, 2, 0.2))
"""Photons at white, read noise in photons, and how far zero is moved at most."""

Measure = Callable[[Tensor, np.random.Generator], Tensor]


def gaussian(sigma: float) -> Measure:
    return lambda x, r: x + sigma * torch.from_numpy(r.standard_normal(x.shape))


def counts(peak: float) -> Measure:
    return lambda x, r: torch.from_numpy(r.poisson(peak * x.numpy()) / peak)


def speckle(looks: float) -> Measure:
    return lambda x, r: x * torch.from_numpy(r.gamma(looks, 1 / looks, x.shape))


def camera(gain: float, read: float, peak: float) -> Measure:
    def measure(x: Tensor, r: np.random.Generator) -> Tensor:
        y = gain * r.poisson(peak * x.numpy()) + OFFSET + read * r.standard_normal(x.shape)
        return torch.from_numpy(y.round())

    return measure


def stretched(peak: float, read: float, moved: float, factor: float = 6.0) -> Measure:
    """Counts whose gain, within a range of `factor`, and zero are each image's own."""

    def measure(x: Tensor, r: np.random.Generator) -> Tensor:
        y = r.poisson(peak * x.numpy()) + read * r.standard_normal(x.shape)
        gain = np.exp(r.uniform(-0.5, 0.5) * np.log(factor)) / 3 / peak
        return torch.from_numpy(gain * y + moved * r.uniform(-1, 1))

    return measure


def microscopes() -> list[Tensor]:
    """Tiles (1, 180, 180) in [0, 1] of cells, of stained tissue and of a retina, which scikit-image ships."""
    images = [skimage.data.cell(), *skimage.data.immunohistochemistry().transpose(2, 0, 1)]
    images.append(skimage.data.retina()[..., 1][200:1200, 200:1200])
    tiles = []
    for x in images:
        y = torch.from_numpy(x.astype(np.float64) / x.max())[None]
        across = [range(0, side - 179, 180) for side in y.shape[1:]]
        tiles += [y[:, i : i + 180, j : j + 180] for i in across[0] for j in across[1]]
    return [tiles[i] for i in np.random.default_rng(0).permutation(len(tiles))]


class Case(NamedTuple):
    """kind: of the family. true: its parameters, by name. own: whether each image has its own."""

    measure: Measure
    kind: str
    true: dict[str, float]
    own: bool = False


def cases() -> dict[str, Case]:
    found = {f"Gaussian {s}": Case(gaussian(s), "gaussian", {"sigma": s}) for s in LEVELS}
    found |= {f"counts, {p} at white": Case(counts(p), "poisson", {"gain": 1 / p}) for p in PEAKS}
    found |= {f"speckle, {k} looks": Case(speckle(k), "gamma", {"looks": k}) for k in LOOKS}
    found |= {
        f"stretched one by one, {p} at white, read {r}": Case(
            stretched(p, r, moved), "poisson-gaussian" if r else "poisson", {}, own=True
        )
        for p, r, moved in STRETCHED
    }
    return found | {
        f"camera, gain {g}, read {r}, {p} at white": Case(
            camera(g, r, p), "poisson-gaussian", {"gain": g, "read": r, "offset": OFFSET}
        )
        for g, r, p in CAMERAS
    }


def row(about: str, sets: list[list[Tensor]], name: str, seed: int) -> tuple[str, dict[str, Any]]:
    """The errors of one kind of noise over all sets."""
    torch.set_num_threads(1)
    case, right, refused = cases()[name], [], 0
    for i, images in enumerate(sets):
        noisy = [case.measure(x, np.random.default_rng((seed, i, j))).float() for j, x in enumerate(images)]
        try:
            found = choose_noise(noisy)
        except UnveilError:
            refused += 1
            continue
        refused += found.doubt is not None
        if found.doubt is None and (found.kind, found.each is not None) == (case.kind, case.own):
            right.append(found)
    line: dict[str, Any] = {"sets": len(sets), "right": len(right), "refused": refused}
    for parameter, value in case.true.items():
        error = np.array([f.parameters[parameter] - value for f in right])
        stated = np.array([f.errors[parameter] for f in right])
        if len(error):
            line[parameter] = {
                "median_error": round(float(np.median(np.abs(error))) / value, 4),
                "q90_error": round(float(np.quantile(np.abs(error), 0.9)) / value, 4),
                "within_two": round(float((np.abs(error) <= 2 * stated + 1e-3 * value).mean()), 3),
            }
    return f"{about}, {len(sets[0])} a set, {name}", line


def jobs(photographs: list[Tensor], options: argparse.Namespace) -> Iterator[tuple[str, list[list[Tensor]], str]]:
    found = {
        "photographs": photographs,
        "photographs beside a dark half": [pad(x, (0, x.shape[2], 0, 0)) for x in photographs],
        "microscopes": microscopes(),
        "one brightness": [torch.full((1, 180, 180), BRIGHTNESS, dtype=torch.float64)] * 16 * options.sets,
    }
    for about in options.about.split(","):
        images = found[about]
        for n in map(int, options.sizes.split(",")):
            sets = [images[i * n : (i + 1) * n] for i in range(min(options.sets, len(images) // n))]
            for name in filter(re.compile(options.cases).match, cases() if sets else ()):
                if about != "photographs beside a dark half" or name.startswith("camera"):
                    yield about, sets, name


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options.add_argument("--first", type=int, default=0, help="number of the first one that is used")
    options.add_argument(
        "--about", default="photographs,photographs beside a dark half,microscopes", help="which images"
    )
    options.add_argument("--cases", default="", help="how their names begin, a regular expression")
    options.add_argument("--sizes", default="1,4,16", help="images in a set")
    options.add_argument("--sets", type=int, default=20, help="of each row at most")
    options.add_argument("--workers", type=int, default=1, help="processes")
    options = options.parse_args()
    source = open_images(options.test)
    in_processes(row, jobs([source.read(i).double() for i in range(options.first, len(source))], options), options)


if __name__ == "__main__":
    main()
