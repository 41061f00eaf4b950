"""How often `unveil.checks.contradictions` errs: lines on sets of noisy photographs, of which none or one should
come.

White Gaussian noise should contradict nothing, in values as they are and clipped to 8 bits; counted photons (their
number at white) and a camera's (gain 2, read noise 2 electrons, offset 100, 16 bits) should be told by the growth of
their noise. The thresholds were chosen on photographs of scikit-image; those of the folder are others.

    python benchmarks/contradictions_check.py --test DIR --json benchmarks/results/contradictions_check.json
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from common import parser, write
from unveil.checks import contradictions
from unveil.data import open_images
from unveil.noise import Gaussian
from unveil.random import make_generator, normal

SIZES = (1, 4)
SETS = 20
LEVELS = (0.02, 0.05, 0.1, 0.2)
PEAKS = (20, 100, 300, 1000)
KINDS = {
    "brightness": "grows with brightness",
    "images' levels": "images' noise levels",
    "channels": "channel",
    "outliers": "outliers",
    "not white": "not white",
    "rounding": "rounding",
    "level": "is what is stated",
}

Noise = Callable[[Tensor, int], Tensor]


def gaussian(sigma: float, eight_bits: bool) -> Noise:
    def measure(x: Tensor, seed: int) -> Tensor:
        y = x + sigma * normal(x, make_generator("cpu", seed))
        return (255 * y.clamp(0, 1)).round() / 255 if eight_bits else y

    return measure


def counts(peak: float) -> Noise:
    return lambda x, seed: torch.from_numpy(np.random.default_rng(seed).poisson(peak * x.numpy()) / peak).float()


def camera(peak: float) -> Noise:
    def measure(x: Tensor, seed: int) -> Tensor:
        r = np.random.default_rng(seed)
        electrons = r.poisson(peak * x.numpy()) + 2 * r.standard_normal(x.shape)
        return torch.from_numpy((2 * electrons + 100).round() / (2 * peak + 100)).float()

    return measure


def said(sets: list[list[Tensor]], measure: Noise, sigma: float | None, seed: int) -> dict[str, int]:
    """In how many sets there was a line of each kind, and a line at all."""
    found: Counter[str] = Counter(sets=len(sets), any=0)
    for i, images in enumerate(sets):
        noisy = {str(j): measure(x, seed + 1000 * i + j) for j, x in enumerate(images)}
        lines = contradictions(noisy, None if sigma is None else Gaussian(sigma))
        found.update(kind for kind, words in KINDS.items() if any(words in line for line in lines))
        found["any"] += bool(lines)
    return dict(found)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    source = open_images(options.test)
    results = {}
    for n in SIZES:
        sets = [[source.read(k) for k in range(i * n, (i + 1) * n)] for i in range(min(SETS, len(source) // n))]
        for sigma in LEVELS:
            for eight_bits in (False, True):
                name = f"{n} a set, Gaussian {sigma}{', 8 bits' if eight_bits else ''}"
                results[name] = said(sets, gaussian(sigma, eight_bits), sigma, options.seed)
                print(name, results[name], flush=True)
        for peak in PEAKS:
            for kind, noise in (("counts", counts(peak)), ("camera", camera(peak))):
                name = f"{n} a set, {kind}, {peak} at white"
                results[name] = said(sets, noise, None, options.seed)
                print(name, results[name], flush=True)
    write(options.json, options, {"results": results})


if __name__ == "__main__":
    main()
