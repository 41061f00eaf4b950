"""How far is Stein's identity off for counts, by a probe of the first order and by the families' own?

    python benchmarks/probe_bias.py --json benchmarks/results/probe_bias.json

E[(y - u) h(y)] by each probe less that of the same draws, in units of the noise's variance, at one brightness; s is the
deviation of the noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from common import parser, write
from unveil.noise import Noise, Poisson, PoissonGaussian
from unveil.random import make_generator

DRAWS, REPEATS, OFFSET = 200_000, 10, 5.0
CASES = ((0.5, 0.0), (2.0, 0.0), (10.0, 0.0), (2.0, 1.0), (0.5, 1.0))
"""Photons, and read noise in photons."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    table = {}
    print("| photons | read noise | estimator | first order | skewed |")
    print("|---" * 5 + "|")
    for photons, read in CASES:
        noise: Noise = PoissonGaussian(1.0, read, OFFSET) if read else Poisson(1.0)
        u = photons + (OFFSET if read else 0.0)
        for name, h in estimators(u, (photons + read**2) ** 0.5).items():
            first, own = (bias(noise, u, h, step, options.seed) for step in (0.01, None))
            table[f"{photons:g} photons, read noise {read:g}, {name}"] = {"first order": first, "skewed": own}
            print(f"| {photons:g} | {read:g} | {name} | {first[0]:.2f} | {own[0]:.2f} +- {own[1]:.2f} |", flush=True)
    write(options.json, options, {"draws": DRAWS * REPEATS, "bias, standard error": table})


def estimators(u: float, s: float) -> dict[str, Callable[[Tensor], Tensor]]:
    return {
        "tanh": lambda y: s * torch.tanh((y - u) / s),
        "threshold": lambda y: (y - u - s / 2).clamp_min(0),
        "square": lambda y: (y - u) ** 2 / s,
    }


def bias(noise: Noise, u: float, h: Callable[[Tensor], Tensor], step: float | None, seed: int) -> list[float]:
    """The mean over the repeats, and its standard error."""
    found, whole = [], lambda v: v.flatten(1).mean(1)
    for i in range(REPEATS):
        y = noise.sample(torch.full((1, DRAWS), u, dtype=torch.double), make_generator("cpu", seed, i, 1))
        estimate = noise.stein(h, y, h(y), whole, make_generator("cpu", seed, i, 2), step)
        found.append(estimate - whole((y - u) * h(y)))
    values = torch.cat(found) / float(noise.variance(torch.full((1, 1), u)))
    return [float(values.mean()), float(values.std()) / REPEATS**0.5]


if __name__ == "__main__":
    main()
