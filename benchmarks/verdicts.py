"""How often are samples given all of the exposure called what they are? Closed forms, no reference looked at.

    python benchmarks/verdicts.py --json benchmarks/results/verdicts.json

Per case, --images images of --side pixels at once, 6 samples each, whose variance is a share of the exact one:

gaussian      a Gaussian prior and noise; the posterior variance is a tenth of the noise's
counts        a Gamma prior of mean 1/2 and counts of gain .1; it is a third of the noise's

Per share how often each verdict was given (`shown_verdict`), the ratio of the variances that was found, its deviation
over the draws, and its standard error as it was told.
"""

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from common import parser, write
from unveil.evaluation.calibrated import shown_record, shown_verdict
from unveil.evaluation.risk import estimate_risk
from unveil.evaluation.shown import Shown, shown_samples
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Noise, Poisson
from unveil.operators import Identity
from unveil.random import make_generator, normal

V, SIGMA, SHAPE, RATE, GAIN, SAMPLES = 0.035**2, 0.1, 20.0, 40.0, 0.1, 6
SHARES = (1.0, 0.9, 0.7, 0.5, 1.5)
Draw = Callable[[Tensor, torch.Generator], Tensor]


def gaussian() -> tuple[Noise, Draw, Callable[[Measurement], Tensor], Draw]:
    def exact(y: Tensor, generator: torch.Generator) -> Tensor:
        return normal(y, generator) * (V * SIGMA**2 / (V + SIGMA**2)) ** 0.5

    prior = lambda like, generator: 0.5 + V**0.5 * normal(like, generator)  # noqa: E731
    return Gaussian(SIGMA), prior, lambda m: 0.5 + V / (V + SIGMA**2) * (m.y - 0.5), exact


def counts() -> tuple[Noise, Draw, Callable[[Measurement], Tensor], Draw]:
    def exact(y: Tensor, generator: torch.Generator) -> Tensor:
        a = SHAPE + y / GAIN
        return (torch._standard_gamma(a, generator=generator) - a) / (RATE + 1 / GAIN)

    def prior(like: Tensor, generator: torch.Generator) -> Tensor:
        return torch._standard_gamma(torch.full_like(like, SHAPE), generator=generator) / RATE

    return Poisson(GAIN), prior, lambda m: (SHAPE + m.y / GAIN) / (RATE + 1 / GAIN), exact


def seen(case, share: float, options, generator: torch.Generator) -> list[Shown]:
    """Samples of some images about their exact mean, each of `share` of their variance."""
    noise, prior, f, exact = case
    found = []
    for _ in range(options.images):
        x = prior(torch.empty(1, 1, options.side, options.side), generator)
        m = Measurement(noise.sample(x, generator), Identity(), noise)
        x_hat = f(m)
        samples = torch.stack([x_hat + share**0.5 * exact(m.y, generator) for _ in range(SAMPLES)])
        found.append(shown_samples(m, x_hat, samples, estimate_risk(f, m, generator, x_hat=x_hat)))
    return found


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--images", type=int, default=3)
    options.add_argument("--side", type=int, default=96)
    options.add_argument("--draws", type=int, default=100)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    table: dict[str, Any] = {}
    for name, case in (("gaussian", gaussian()), ("counts", counts())):
        for share in SHARES:
            verdicts, ratios, errors = Counter(), [], []
            for k in range(options.draws):
                shown = seen(case, share, options, make_generator("cpu", options.seed, 50, k))
                record = shown_record(shown)
                verdicts[shown_verdict(shown).verdict] += 1
                ratios.append(record["spread_over_error"])
                errors.append(record["spread_over_error_se"])
            table.setdefault(name, {})[str(share)] = {
                "verdicts": dict(verdicts),
                "ratio": statistics.mean(ratios),
                "ratio_deviation": statistics.stdev(ratios),
                "se": statistics.mean(errors),
            }
            print(name, share, table[name][str(share)], flush=True)
    write(options.json, options, {"images": options.images, "side": options.side, "draws": options.draws, **table})


if __name__ == "__main__":
    main()
