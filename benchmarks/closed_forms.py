"""How near do samplers come to posteriors that are known in closed form, at 10, 25 and 50 evaluations of an exact
estimator?

    python benchmarks/closed_forms.py --json benchmarks/results/closed_forms.json

Gaussian noise: x is a mixture of 8 Gaussians in 16 dimensions, about of unit size; y = x + n, or 8 of the 16 entries of
it. The figure is the sliced Wasserstein distance of order 2 to as many draws of the exact posterior; that of two sets
of exact draws is its
floor. Counts of one Gamma intensity: the distance is to the exact quantiles. Distances are in deviations of the
posterior (the root of its mean variance); beside them stands the samples' variance over the exact one.

    B = A         the measurement itself goes on (`posterior_samples`), with geometric or karras' exposures
    B = I         an ideal camera goes on (`Camera`) from t = 0: in one step to level `first`, and then with such
    exposures
    B = I, flow   the same without noise after that first step (`go_on`)
"""

import argparse
import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from common import parser, write
from unveil.diffusion import SCHEDULES, Camera, go_on, posterior_samples
from unveil.instruments.inpainting.operator import Inpainting
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators.base import Operator
from unveil.operators.identity import Identity
from unveil.random import make_generator, normal

N, COMPONENTS, SIGMA = 16, 8, 0.8
EVALUATIONS = (10, 25, 50)
LOWEST = 0.02  # the last level, as a multiple of sigma, for all samplers
FIRST = (4.0, 8.0, 16.0)
DIRECTIONS = 128
COUNTS = (0.5, 3.0, 10.0)


@dataclass
class Mixture:
    """x ~ sum_k N(m_k, P_k^-1) / K: means (K, n), precisions (K, n, n).

    f(m) for A^T A diagonal, the same for all of a batch.
    """

    means: Tensor
    precisions: Tensor

    def laws(self, m: Measurement) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (B, K), means (B, K, n) and precisions (K, n, n) of x given y."""
        weight = 1 / m.noise.variance(m.y)
        seen = m.operator.A_adjoint(weight * m.operator.A(torch.ones_like(m.operator.image(m.y))))[0]
        h = self.precisions + torch.diag(seen)
        prior = (self.precisions @ self.means[:, :, None])[:, :, 0]
        b = prior + m.operator.A_adjoint(weight * m.y)[:, None]
        means = torch.einsum("kij,bkj->bki", torch.linalg.inv(h), b)
        evidence = (b * means).sum(2) - (prior * self.means).sum(1) + torch.logdet(self.precisions) - torch.logdet(h)
        return 0.5 * evidence, means, h

    def __call__(self, m: Measurement) -> Tensor:
        log_weights, means, _ = self.laws(m)
        return (log_weights.softmax(1)[:, :, None] * means).sum(1)

    @property
    def deviation(self) -> float:
        """The root of the mean variance of x."""
        variance = torch.linalg.inv(self.precisions).diagonal(dim1=1, dim2=2).mean(0) + self.means.var(0, correction=0)
        return float(variance.mean()) ** 0.5

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws (count, n) of x: of the posterior of a measurement that says nothing."""
        nothing = Measurement(torch.zeros(1, N, dtype=torch.float64), Identity(), Gaussian(1e6))
        return self.posterior(nothing, count, generator)

    def posterior(self, m: Measurement, count: int, generator: torch.Generator) -> Tensor:
        """Exact draws (count, n) given the one measurement m."""
        log_weights, means, h = self.laws(m)
        k = torch.multinomial(log_weights[0].softmax(0), count, replacement=True, generator=generator)
        z = normal(means[0, k], generator)
        root = torch.linalg.inv(torch.linalg.cholesky(h)).mT
        return means[0, k] + torch.einsum("bij,bj->bi", root[k], z)


def make_mixture(seed: int) -> Mixture:
    """Means of deviation 0.4, deviations from 0.5 down to 0.05 along random axes."""
    draw = make_generator("cpu", seed, 0)
    means = 0.4 * torch.randn(COMPONENTS, N, generator=draw, dtype=torch.float64)
    axes = torch.linalg.qr(torch.randn(COMPONENTS, N, N, generator=draw, dtype=torch.float64))[0]
    deviations = torch.logspace(math.log10(0.5), math.log10(0.05), N, dtype=torch.float64)
    return Mixture(means, axes @ torch.diag(deviations**-2) @ axes.mT)


@dataclass
class Sampler:
    """first: the camera's first level above infinity, in deviations of x; None: B = A."""

    schedule: str
    first: float | None = None
    flow: bool = False

    def __str__(self) -> str:
        if self.first is None:
            return f"B = A, {self.schedule}"
        return f"B = I{', flow' if self.flow else ''}, {self.schedule} from {self.first:g}"

    def __call__(self, f: Mixture, m: Measurement, steps: int, count: int, draw: torch.Generator) -> Tensor:
        """x (count, n) given the one measurement m, by that many evaluations of f."""
        schedule = SCHEDULES[self.schedule]
        if self.first is None:
            x = posterior_samples(f, m, draw, samples=count, steps=steps, schedule=schedule, lowest=LOWEST, batch=count)
            return x[:, 0]
        many, first = m[torch.zeros(count, dtype=torch.long)], self.first * f.deviation
        times = first**-2 * schedule(LOWEST * SIGMA / first, steps - 1)
        times = torch.cat([torch.zeros(1, dtype=times.dtype), times])
        return f(go_on(f, many, times, draw, instrument=Camera(many), flow=self.flow))


SAMPLERS = [
    *(Sampler(schedule) for schedule in SCHEDULES),
    *(Sampler(schedule, first, flow) for flow in (False, True) for schedule in SCHEDULES for first in FIRST),
]


def sliced(a: Tensor, b: Tensor, seed: int) -> float:
    """The sliced Wasserstein distance of order 2 between two sets (S, n)."""
    way = torch.randn(a.shape[1], DIRECTIONS, generator=make_generator("cpu", seed, 9), dtype=a.dtype)
    way = way / way.norm(dim=0)
    gap = (way.T @ a.T).sort(1)[0] - (way.T @ b.T).sort(1)[0]
    return float(gap.square().mean().sqrt())


def gaussian_noise(options: argparse.Namespace, name: str, operator: Operator) -> list[dict[str, Any]]:
    """Return the rows of one operator, mean over the measurements."""
    seed, size = options.seed, options.samples
    f = make_mixture(seed)
    noise = Gaussian(torch.tensor(SIGMA, dtype=torch.float64))
    x = f.sample(options.measurements, make_generator("cpu", seed, 1))
    m = Measurement(noise.sample(operator.A(x), make_generator("cpu", seed, 2)), operator, noise)
    ones = [m[i : i + 1] for i in range(len(m))]
    exact = [
        [f.posterior(one, size, make_generator("cpu", seed, 3, i, k)) for k in (0, 1)] for i, one in enumerate(ones)
    ]
    unit = [float(a.var(0).mean()) ** 0.5 for a, _ in exact]
    floor = fmean(sliced(a, b, seed) / c for (a, b), c in zip(exact, unit))
    rows = [{"operator": name, "sampler": "exact draws", "w2": dict.fromkeys(EVALUATIONS, floor)}]
    for sampler in SAMPLERS:
        w2, variance = {}, {}
        for steps in EVALUATIONS:
            drawn = [sampler(f, one, steps, size, make_generator("cpu", seed, 4, i)) for i, one in enumerate(ones)]
            w2[steps] = fmean(sliced(d, a, seed) / c for d, (a, _), c in zip(drawn, exact, unit))
            variance[steps] = fmean(float(d.var(0).mean()) / c**2 for d, c in zip(drawn, unit))
        rows.append({"operator": name, "sampler": str(sampler), "w2": w2, "variance": variance})
        show(name, str(sampler), w2, variance)
    show(name, "exact draws", rows[0]["w2"])
    return rows


def counts(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of x ~ Gamma(2) of each mean, from as many photons as the mean, rounded."""
    rows, size = [], 10 * options.samples
    middle = (np.arange(size) + 0.5) / size
    for mean in COUNTS:
        shape, rate, y = 2.0, 2.0 / mean, torch.full((1, 1), float(round(mean)), dtype=torch.float64)
        law = stats.gamma(shape + float(y), scale=1 / (rate + 1))

        def f(m: Measurement, shape: float = shape, rate: float = rate) -> Tensor:
            gain = m.noise.gain.reshape(-1, 1)
            return (shape + m.y / gain) / (rate + 1 / gain)

        m = Measurement(y, Identity(), Poisson(1.0))
        for schedule in SCHEDULES:
            w2, variance, ks = {}, {}, {}
            for steps in EVALUATIONS:
                x = posterior_samples(
                    f,
                    m,
                    make_generator("cpu", options.seed, 5),
                    samples=size,
                    steps=steps,
                    schedule=SCHEDULES[schedule],
                    lowest=LOWEST,
                    batch=size,
                ).flatten()
                w2[steps] = float(np.square(x.sort()[0].numpy() - law.ppf(middle)).mean() ** 0.5 / law.std())
                variance[steps] = float(x.var()) / law.var()
                ks[steps] = stats.kstest(x.numpy(), law.cdf).statistic
            rows.append({"counts": mean, "sampler": f"B = A, {schedule}", "w2": w2, "variance": variance, "ks": ks})
            show(f"{mean:g} counts", f"B = A, {schedule}", w2, variance)
    return rows


def show(name: str, sampler: str, w2: dict[int, float], variance: dict[int, float] | None = None) -> None:
    figures = [f"{w2[n]:.3f}" + (f" ({variance[n]:.3f})" if variance else "") for n in EVALUATIONS]
    print("|", " | ".join([name, sampler, *figures]), "|", flush=True)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=10_000, help="draws for each measurement")
    options.add_argument("--measurements", type=int, default=4)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    print("| y | sampler |", *(f"W2 (variance), {n} |" for n in EVALUATIONS), "\n|---|---|---|---|---|")
    rows = gaussian_noise(options, "all entries", Identity())
    rows += gaussian_noise(options, "8 of 16 entries", Inpainting((N,), torch.arange(N)[None] % 2 == 0))
    write(
        options.json,
        options,
        {
            "lowest": LOWEST,
            "samples": options.samples,
            "measurements": options.measurements,
            "gaussian": rows,
            "counts": counts(options),
        },
    )


if __name__ == "__main__":
    main()
