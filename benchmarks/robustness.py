"""Is a wrong noise model told? The verdict before and after training, on right and wrong models, and what they cost.

Photographs are measured in noise of one kind and the model is stated as of another, in sets as a folder would hold
them. Before training `unveil.checks.noise_fit` says whether it fits; on right models it should, on wrong ones not. In
some cases a small network is trained for --steps with the stated model (the default recipe), on other photographs:
`unveil.evaluation.residual_fit` says whether the model fits what the network leaves, and its error is compared with
that of a network trained with the right model, and with what it claims without a reference.

Thresholds were chosen on the first 200 photographs of BSD400; --first 200 looks at the others.

    python benchmarks/robustness.py --test DIR --first 200 --json benchmarks/results/robustness.json
"""

import math
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import conv2d, pad

import unveil
from common import parser, write
from unveil.checks import noise_fit
from unveil.data import MemorySource, open_images
from unveil.dataset import Dataset
from unveil.evaluation import estimate_error, mean_square_error, psnr, residual_fit
from unveil.measurement import Measurement
from unveil.noise import NOISES, Gamma, Gaussian, Noise, Poisson, PoissonGaussian
from unveil.operators import Identity
from unveil.random import make_generator, normal

Measure = Callable[[Tensor, float, int], Tensor]
"""(x (1, H, W), its place in the folder from 0 to 1, seed) -> y."""

SET = 10
"""Photographs in a set."""
SETS = {"right": 20, "wrong": 10}
TRAINING, TESTED = 48, 10
MEAN = 0.44
"""Of the photographs."""
STEP = 1 / 31


class Case(NamedTuple):
    """measure: what happens. stated: the model. right: the name of the case whose model is right for the same data."""

    measure: Measure
    stated: Noise
    right: str | None = None


def by(noise: Noise) -> Measure:
    return lambda x, place, seed: noise.sample(x[None], make_generator("cpu", seed))[0]


def filtered(sigma: float, change: Callable[[Tensor], Tensor]) -> Measure:
    """Noise of deviation sigma that was changed."""

    def measure(x: Tensor, place: float, seed: int) -> Tensor:
        e = change(normal(x, make_generator("cpu", seed)))
        return x + sigma * e / e.std()

    return measure


def blur(e: Tensor) -> Tensor:
    return torch.from_numpy(gaussian_filter(e.numpy(), (0, 0.7, 0.7)))


def demosaic(y: Tensor) -> Tensor:
    """Half of the pixels, and between them the mean of their four neighbours."""
    rows, columns = torch.arange(y.shape[1])[:, None], torch.arange(y.shape[2])
    kernel = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]])[None, None] / 4
    between = conv2d(pad(y[:, None], (1, 1, 1, 1), mode="reflect"), kernel)[:, 0]
    return torch.where((rows + columns) % 2 == 0, y, between)


def demosaiced(sigma: float) -> Measure:
    return lambda x, place, seed: demosaic(by(Gaussian(sigma))(x, place, seed))


def hot(sigma: float) -> Measure:
    def measure(x: Tensor, place: float, seed: int) -> Tensor:
        y = by(Gaussian(sigma))(x, place, seed)
        return torch.where(torch.rand(y.shape, generator=make_generator("cpu", seed, 1)) < 1e-3, y + 1, y)

    return measure


def clipped(sigma: float) -> Measure:
    """5% of the values, half at each end."""

    def measure(x: Tensor, place: float, seed: int) -> Tensor:
        y = by(Gaussian(sigma))(x, place, seed)
        low, high = np.quantile(y.numpy(), [0.025, 0.975])
        return (y.clamp(float(low), float(high)) - float(low)) / float(high - low) * 0.8 + 0.1

    return measure


def rounded(step: float, sigma: float) -> Measure:
    return lambda x, place, seed: (by(Gaussian(sigma))(x, place, seed) / step).round() * step


def drifting(noise: Callable[[float], Noise], over: float = 1.5) -> Measure:
    return lambda x, place, seed: by(noise(over ** (place - 0.5)))(x, place, seed)


def level(gain: float) -> float:
    """The Gaussian level with the mean variance of counts."""
    return math.sqrt(gain * MEAN)


def right() -> dict[str, Case]:
    models: list[Noise] = [Gaussian(s) for s in (0.03, 0.05, 0.1, 0.2)] + [Poisson(1 / p) for p in (4, 10, 20, 200)]
    models += [PoissonGaussian(1 / 20, 0.05, 0.1), PoissonGaussian(1 / 200, 0.02, 0.0)]
    models += [Gamma(1), Gamma(4), Gamma(30)]
    names = {family: name for name, family in NOISES.items()}
    return {f"{names[type(noise)]}, {noise}": Case(by(noise), noise) for noise in models}


def wrong() -> dict[str, Case]:
    cases = {}
    for s in (0.03, 0.1, 0.2):
        of = f"gaussian, sigma {s:g}"
        cases |= {
            f"sigma {s:g} stated 20% too low": Case(by(Gaussian(s)), Gaussian(0.8 * s), of),
            f"sigma {s:g} stated 20% too high": Case(by(Gaussian(s)), Gaussian(1.2 * s), of),
            f"sigma {s:g} taken for Poisson": Case(by(Gaussian(s)), Poisson(s**2 / MEAN), of),
            f"sigma {s:g} blurred by .7 pixel": Case(filtered(s, blur), Gaussian(s)),
            f"sigma {s:g} demosaiced": Case(demosaiced(s), Gaussian(s)),
        }
    for p in (4, 20, 200):
        of = f"poisson, gain {1 / p:.4g}"
        cases[f"Poisson of {p} photons taken for Gaussian"] = Case(by(Poisson(1 / p)), Gaussian(level(1 / p)), of)
        cases[f"drift of the gain at {p} photons"] = Case(drifting(lambda a, p=p: Poisson(a / p)), Poisson(1 / p))
    cases["speckle of 4 looks taken for Gaussian"] = Case(by(Gamma(4)), Gaussian(MEAN / 2), "gamma, looks 4")
    cases["read noise of Poisson-Gaussian left out"] = Case(by(PoissonGaussian(1 / 20, 0.1, 0)), Poisson(1 / 20))
    for s in (0.03, 0.1):
        cases[f"hot pixels, sigma {s:g}"] = Case(hot(s), Gaussian(s))
        cases[f"clipped, sigma {s:g}"] = Case(clipped(s), Gaussian(s))
        cases[f"drift of the level, sigma {s:g}"] = Case(drifting(lambda a, s=s: Gaussian(a * s)), Gaussian(s))
    for part in (0.3, 0.5, 0.8):
        cases[f"rounded to steps, sigma {part:g} of one"] = Case(rounded(STEP, part * STEP), Gaussian(part * STEP))
    return cases


TRAINED = (
    "sigma 0.1 stated 20% too low", "sigma 0.1 stated 20% too high", "sigma 0.1 taken for Poisson",
    "sigma 0.1 blurred by .7 pixel", "Poisson of 20 photons taken for Gaussian",
)  # fmt: skip
RIGHT_TRAINED = ("gaussian, sigma 0.1", "poisson, gain 0.05")


def verdicts(case: Case, images: list[Tensor], seed: int, most: int) -> dict[str, object]:
    """How often each verdict was given on `most` sets of the images, and the commonest reason."""
    counts: dict[str, int] = {"fits": 0, "does not fit": 0, "cannot be told": 0}
    reasons: list[str] = []
    for first in range(0, len(images) - SET + 1, SET)[:most]:
        part = images[first : first + SET]
        y = [case.measure(x, k / (SET - 1), seed + first + k) for k, x in enumerate(part)]
        fit = noise_fit(y, case.stated)
        counts[fit.verdict] += 1
        reasons.append(fit.reason)
    return {**counts, "reason": statistics.mode(" ".join(r.split(" ")[:6]) for r in reasons), "such as": reasons[0]}


def trained(case: Case, images: list[Tensor], options) -> unveil.Model:
    y = torch.stack([case.measure(x, 0.5, options.seed + 10_000 + k) for k, x in enumerate(images)])
    settings = {"sampling": {"inflation": 0}, "estimator": {"widths": [16, 32]}, "training": {"batch": 16}}
    with tempfile.TemporaryDirectory() as folder:
        return unveil.learn(
            y, noise=case.stated, steps=options.steps, seed=options.seed, settings=settings, out=Path(folder),
            device="cpu", progress=False,
        )  # fmt: skip


def after(case: Case, f: torch.nn.Module, images: list[Tensor], seed: int) -> dict[str, object]:
    """The verdict on what the network leaves, its error, and what it claims."""
    true, claimed, y = [], [], {}
    for k, x in enumerate(images):
        y[f"{k:02d}"] = case.measure(x, k / (len(images) - 1), seed + 20_000 + k)
        m = Measurement(y[f"{k:02d}"][None], Identity(), case.stated)
        with torch.no_grad():
            true.append(float(mean_square_error(f(m), x[None])))
        claimed.append(float(estimate_error(f, m, make_generator("cpu", seed, k))))
    fit = residual_fit(f, Dataset(MemorySource(y), Identity(), case.stated), seed=seed)
    return {
        "verdict": fit.verdict,
        "reason": fit.reason,
        "figures": fit.figures,
        "psnr": psnr(statistics.mean(true)),
        "psnr_estimate": psnr(mean) if (mean := statistics.mean(claimed)) > 0 else None,
    }


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--test", required=True, metavar="DIR", help="clean photographs")
    options.add_argument("--first", type=int, default=0, help="number of the first photograph that is looked at")
    options.add_argument("--steps", type=int, default=300, help="of the trainings; 0: none")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    source = open_images(options.test)
    images = [source.read(i) for i in range(options.first, min(len(source), options.first + 200))]
    cases = {"right": right(), "wrong": wrong()}
    before: dict[str, dict[str, dict[str, object]]] = {}
    for kind, some in cases.items():
        before[kind] = {}
        for name, case in some.items():
            before[kind][name] = verdicts(case, images, options.seed, SETS[kind])
            print(kind, name, before[kind][name], flush=True)
    afterwards: dict[str, dict[str, object]] = {}
    learned_from, tested = images[:TRAINING], images[-TESTED:]
    for name in (*RIGHT_TRAINED, *TRAINED) if options.steps else ():
        case = (cases["right"] | cases["wrong"])[name]
        found = after(case, trained(case, learned_from, options).f, tested, options.seed)
        if case.right in afterwards:
            found["dB lost"] = float(afterwards[case.right]["psnr"]) - float(found["psnr"])
        afterwards[name] = found
        print("after", name, found, flush=True)
    false = sum(int(row["does not fit"]) for row in before["right"].values())
    result = {
        "set": SET,
        "false alarms": false / sum(sum(row[v] for v in VERDICTS) for row in before["right"].values()),
        "told": min(row["does not fit"] / sum(row[v] for v in VERDICTS) for row in before["wrong"].values()),
        "before": before,
        "after": afterwards,
    }
    write(options.json, options, result)


VERDICTS = ("fits", "does not fit", "cannot be told")

if __name__ == "__main__":
    main()
