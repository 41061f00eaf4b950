"""How far is the error without a reference off, by how much its probe moves at once?

    python benchmarks/probe_share.py --train DIR --test DIR --work DIR --json benchmarks/results/probe_share.json

The probe of counts and speckle moves all entries by a share r of their variance (`unveil.noise.skewed`), so that what
is beside an entry is seen noisier. Of the networks of noise.py that were taught by clean images: the PSNR that is
estimated without a reference less the true one, dB of mean square errors over all test images, with its standard error
over draws of the noise, and the deviation of one draw. *apart*: for comparison, a probe that moves entries of a lattice
alone, APART pixels from one another, half of them by the length d of the family and half by -d, of which only the
first count: of counts Hudson's identity itself, whose others hardly see it.
"""

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from below_noise import in_memory, measure
from common import parser, write
from noise import CASES, trained, training_options
from unveil.evaluation import psnr
from unveil.measurement import Measurement
from unveil.noise import Gamma
from unveil.operators import Identity
from unveil.random import make_generator, signs

SHARES, APART, PROBES = (0.02, 0.005, 0.00125), 8, 8


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--cases", default="gamma:16,gamma:4,poisson:2,poisson:10")
    options.add_argument("--draws", type=int, default=10, help="of the noise of the test images")
    training_options(options, 400)
    options.set_defaults(near=None)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test, table = in_memory(options.train), in_memory(options.test), {}
    images = [test.read(i)[None] for i in range(len(test))]
    for case in options.cases.split(","):
        noisy = measure(clean, CASES[case], options.seed)
        f, _ = trained(f"{case}/supervised", "supervised", CASES[case], CASES[case], clean, noisy, options)
        draws = [off(f, case, images, draw, options) for draw in range(options.draws)]
        table[case] = {name: summary([draw[name] for draw in draws]) for name in draws[0]}
        print(case, table[case], flush=True)
        write(options.json, options, {"steps": options.steps, "probes": PROBES, "cases": table})


def summary(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values)
    return {"mean": statistics.mean(values), "se": deviation / math.sqrt(len(values)), "deviation": deviation}


@torch.no_grad()
def off(f: nn.Module, case: str, images: list[Tensor], draw: int, options) -> dict[str, float]:
    """Claimed less true PSNR of one draw of the noise, by probe."""
    noise, true = CASES[case], 0.0
    claimed = dict.fromkeys([f"r = {r:g}" for r in SHARES] + ["apart"], 0.0)
    for i, x in enumerate(images):
        m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 20, draw, i)), Identity(), noise)
        h = f(m)
        rest = float((m.y - h).square().mean() - noise.estimated_variance(m.y).mean())
        true += float((h - x).square().mean())
        for name, share in zip(claimed, (*SHARES, None)):
            generator = make_generator("cpu", options.seed, 21, draw, i)
            claimed[name] += rest + 2 * statistics.mean(product(f, m, h, share, generator) for _ in range(PROBES))
    return {name: psnr(max(value, 1e-9)) - psnr(true) for name, value in claimed.items()}


def product(f: Callable[[Measurement], Tensor], m: Measurement, h: Tensor, share: float | None, generator) -> float:
    """One probe's estimate of the mean of (y - u) f(y)."""
    if share is None:
        e, weight = apart(m, generator)
    else:
        e, weight = m.noise.probe(m.y, m.operator.mean, generator, share)
    return float((weight * (f(m.at(m.y + e)) - h)).mean())


def apart(m: Measurement, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """e and weights of the lattice."""
    d = -2 * m.y / (m.noise.looks + 2) if isinstance(m.noise, Gamma) else -m.noise.gain.expand(m.y.shape)
    top, left = torch.randint(APART, (2,), generator=generator).tolist()
    on = torch.zeros_like(m.y)
    on[..., top::APART, left::APART] = 1
    up = signs(m.y, generator)
    moved = on * (up > 0) * (d != 0)
    weight = torch.where(moved > 0, 2 * APART**2 * m.noise.estimated_variance(m.y) / d, 0.0)
    return on * up * d, weight


if __name__ == "__main__":
    main()
