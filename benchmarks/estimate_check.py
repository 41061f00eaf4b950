"""How well `unveil.noise.estimate.choose_noise` finds the noise of images: family, parameters, and their stated errors.

Sets of clean images in simulated noise: white and Gaussian, counted photons (their number at white), speckle (looks),
and a camera's (gain, offset 100, read noise, rounded to whole numbers). Each row: in how many sets the family was
right; of these the median of the relative error, its 90% quantile, and the share within two stated errors. Every
parameter of a camera's whose images hold no dark background is known within bounds alone: its error is then that of
what is assumed. The same beside a dark half hold one. The thresholds were chosen on the first 200 photographs of
BSD400.

    python benchmarks/estimate_check.py --test DIR --first 200 --json benchmarks/results/estimate_check.json
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn.functional import pad

from common import parser, write
from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.noise.estimate import choose_noise

SIZES = (1, 4, 16)
SETS = 20
LEVELS = (0.02, 0.05, 0.1, 0.2)
PEAKS = (2, 10, 100, 1000)
LOOKS = (1, 4, 16)
OFFSET = 100.0
CAMERAS = ((0.5, 1, 100), (0.5, 5, 1000), (2, 2, 20), (2, 2, 200), (2, 2, 1000), (5, 1, 50), (5, 5, 300))
"""Gain, read noise, photons at white."""

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


def row(sets: list[list[Tensor]], measure: Measure, kind: str, true: dict[str, float], seed: int) -> dict[str, Any]:
    """The errors of one kind of noise over all sets."""
    found = []
    for i, images in enumerate(sets):
        noisy = [measure(x, np.random.default_rng((seed, i, j))).float() for j, x in enumerate(images)]
        try:
            found.append(choose_noise(noisy))
        except UnveilError:
            continue
    right = [f for f in found if f.kind == kind]
    line: dict[str, Any] = {"sets": len(sets), "right": len(right)}
    for name, value in true.items():
        error = np.array([f.parameters[name] - value for f in right])
        stated = np.array([f.errors[name] for f in right])
        if len(error):
            line[name] = {
                "median_error": round(float(np.median(np.abs(error))) / value, 4),
                "q90_error": round(float(np.quantile(np.abs(error), 0.9)) / value, 4),
                "within_two": round(float((np.abs(error) <= 2 * stated + 1e-3 * value).mean()), 3),
            }
    return line


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options.add_argument("--first", type=int, default=0, help="number of the first one that is used")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    source = open_images(options.test)
    photographs = [source.read(i).double() for i in range(options.first, len(source))]
    dark = [pad(x, (0, x.shape[2], 0, 0)) for x in photographs]
    found = {"photographs": photographs, "photographs beside a dark half": dark, "microscopes": microscopes()}
    results = {}
    for about, images in found.items():
        for n in SIZES:
            sets = [images[i * n : (i + 1) * n] for i in range(min(SETS, len(images) // n))]
            if not sets:
                continue
            rows = {}
            if about != "photographs beside a dark half":
                rows |= {f"Gaussian {s}": (gaussian(s), "gaussian", {"sigma": s}) for s in LEVELS}
                rows |= {f"counts, {p} at white": (counts(p), "poisson", {"gain": 1 / p}) for p in PEAKS}
                rows |= {f"speckle, {k} looks": (speckle(k), "gamma", {"looks": k}) for k in LOOKS}
            rows |= {
                f"camera, gain {g}, read {r}, {p} at white": (
                    camera(g, r, p), "poisson-gaussian", {"gain": g, "read": r, "offset": OFFSET}
                )
                for g, r, p in CAMERAS
            }  # fmt: skip
            for name, (measure, kind, true) in rows.items():
                key = f"{about}, {n} a set, {name}"
                results[key] = row(sets, measure, kind, true, options.seed)
                print(key, results[key], flush=True)
    write(options.json, options, {"results": results})


if __name__ == "__main__":
    main()
