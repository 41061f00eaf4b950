"""Is noise that channels share told, and independent noise never? What `dependent_channels` says of colour images.

Sets of colour photographs in simulated noise of each level, Gaussian or counted photons, whose channels correlate by 0
or more in all pairs. Each row: in how many sets a pair of channels is told to correlate; of those, where it is so, the
largest error of the correlations found (median over sets). Thresholds were chosen on 25 other photographs, and those
that scikit-image ships report too.

    python benchmarks/channels_check.py --test DIR --sizes 1,4 --json benchmarks/results/channels_check.json
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import skimage.data
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from common import in_processes, parser
from unveil.data import open_images
from unveil.noise.estimate.channels import channel_correlation, dependent_channels

LEVELS = (0.01, 0.02, 0.05, 0.1)
PEAKS = (100,)
CORRELATIONS = (0.0, 0.2, 0.3)
SIDE = 384
DRAWS = 2


def bundled() -> list[Tensor]:
    """Photographs (3, 180 or more, ...) in [0, 1] that scikit-image ships, reduced twofold."""
    names = ("astronaut", "chelsea", "coffee", "immunohistochemistry", "retina", "rocket")
    images = [torch.from_numpy(getattr(skimage.data, name)()[:512, :512] / 255.0).movedim(-1, 0) for name in names]
    return [avg_pool2d(x, 2) for x in images]


def row(
    about: str, images: list[Tensor], size: int, kind: str, strength: float, correlation: float, seed: int
) -> tuple[str, dict[str, Any]]:
    torch.set_num_threads(1)
    told, off, sets = 0, [], 0
    for draw in range(DRAWS):
        r = np.random.default_rng((seed, draw))
        order = [images[i] for i in r.permutation(len(images))]
        for first in range(0, len(order) - size + 1, size):
            noisy = []
            for x in order[first : first + size]:
                own, common = r.standard_normal(x.shape), r.standard_normal(x.shape[1:])
                e = torch.from_numpy((1 - correlation) ** 0.5 * own + correlation**0.5 * common)
                level = strength if kind == "Gaussian" else (x.clamp_min(0) / strength).sqrt()
                noisy.append((x + level * e).float())
            sets += 1
            pair = dependent_channels(noisy)
            if pair is not None:
                told += 1
                found = channel_correlation(noisy)
                off.append(
                    float((found - torch.eye(len(found)) - correlation * (1 - torch.eye(len(found)))).abs().max())
                )
    line: dict[str, Any] = {"sets": sets, "told": told}
    if off and correlation:
        line["correlation_off"] = round(float(np.median(off)), 3)
    return f"{about}, {size} a set, {kind} {strength:g}, correlation {correlation}", line


def jobs(images: dict[str, list[Tensor]], sizes: list[int]) -> Iterator[tuple[Any, ...]]:
    for about, several in images.items():
        for size in sizes:
            if size <= len(several):
                for kind, strengths in (("Gaussian", LEVELS), ("counts", PEAKS)):
                    for strength in strengths:
                        for correlation in CORRELATIONS:
                            yield about, several, size, kind, strength, correlation


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean colour photographs")
    options.add_argument("--sizes", default="1,4", help="images in a set")
    options.add_argument("--workers", type=int, default=1, help="processes")
    options = options.parse_args()
    source = open_images(options.test)
    photographs = [source.read(i).double()[:, :SIDE, :SIDE] for i in range(len(source))]
    sizes = [int(size) for size in options.sizes.split(",")]
    in_processes(row, jobs({"photographs": photographs, "bundled": bundled()}, sizes), options)


if __name__ == "__main__":
    main()
