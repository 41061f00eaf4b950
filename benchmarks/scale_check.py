"""How often the check of scale (`unveil.checks.scale`) errs: verdicts on sets of noisy images, at estimated levels.

Photographs: the second half of the folder by name; the first half served to choose the threshold. Cells (synthetic:
overlapping discs of one radius, up to 10% varied), text and textures (scikit-image) should be warned of.

    python benchmarks/scale_check.py --test DIR --json benchmarks/results/scale_check.json
"""

import math
from collections import Counter

import numpy as np
import skimage.data
import torch
from torch import Tensor

from common import parser, write
from unveil.checks import scale_invariance
from unveil.data import open_images
from unveil.noise import estimate_common_sigma
from unveil.random import make_generator, normal

SIZES = (3, 8, 32)
LEVELS = (0.1, 0.3)
RADII = (4, 6, 8, 12, 16, 20)
PICTURES = ("page", "text", "grass", "gravel", "brick", "astronaut", "camera", "chelsea", "coffee", "rocket")


def cells(radius: float, seed: int, side: int = 512) -> Tensor:
    """x (1, side, side): a quarter of it covered by discs."""
    draws = torch.rand(int(side**2 / (4 * math.pi * radius**2)), 4, generator=make_generator("cpu", 900, seed)).tolist()
    rows, x = torch.arange(side, dtype=torch.float32)[:, None], torch.full((side, side), 0.2)
    for row, column, brightness, size in draws:
        distance = ((rows - side * row) ** 2 + (rows.T - side * column) ** 2).sqrt()
        x = x.maximum(0.2 + (0.3 + 0.4 * brightness) * (radius * (0.9 + 0.2 * size) + 0.5 - distance).clamp(0, 1))
    return x[None]


def picture(name: str) -> Tensor:
    """x (C, H, W) of scikit-image."""
    x = torch.from_numpy(np.ascontiguousarray(getattr(skimage.data, name)())) / 255
    return x.movedim(-1, 0) if x.ndim == 3 else x[None]


def verdicts(sets: list[list[Tensor]], sigma: float, seed: int) -> dict[str, object]:
    """How often each verdict fell, and the least and greatest figure."""
    checks = []
    for i, images in enumerate(sets):
        y = [x + sigma * normal(x, make_generator("cpu", seed, i, j)) for j, x in enumerate(images)]
        checks.append(scale_invariance(y, estimate_common_sigma(y)))
    told = [round(check.figure, 2) for check in checks if check.verdict != "cannot tell"]
    return {
        "sets": len(sets),
        **Counter(check.verdict for check in checks),
        "figures": [min(told), max(told)] if told else [],
    }


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    source = open_images(options.test)
    held_out = [source.read(i) for i in range(len(source) // 2, len(source))]
    groups = {
        f"photographs, {n} a set": [held_out[i : i + n] for i in range(0, len(held_out) - n + 1, n)] for n in SIZES
    }
    groups |= {f"synthetic cells, radius {r}": [[cells(r, i)] for i in range(4)] for r in RADII}
    groups |= {name: [[picture(name)]] for name in PICTURES}
    results = {}
    for name, sets in groups.items():
        results[name] = {str(sigma): verdicts(sets, sigma, options.seed) for sigma in LEVELS}
        print(name, results[name], flush=True)
    write(options.json, options, {"levels": LEVELS, "results": results})


if __name__ == "__main__":
    main()
