"""Do figures without a reference hold? Each beside the truth, for every noise family.

    python benchmarks/evidence.py --data BSD400 --work DIR --json benchmarks/results/evidence.json

Of --data, clean photographs, the first --training are measured once, and a network learns from that in --steps; all
else is of the others, a centre of --side pixels of each, measured --draws times in all. Per case and estimator ("fixed"
keeps what stands out of a mean over 3 x 3 pixels):

covers        how often the 95% interval of one image's PSNR covers the true one; z: bias and deviation of the error
              in its standard errors; width: of the interval, dB, median
conformal     how often the error of an image is below its bound at each level, learned from the estimates alone of
              half of the photographs, and tried on the others; mean of 200 ways to halve them
truth, half   FRC with the truth where it falls to 1/2, pixels a period, by the estimate from half the exposure:
              estimated, and with the truth itself; and where halves fall to 1/7
slope         of intensities, estimated, with its standard error, and against the truth
spread        over error, of 8 samples in 25 evaluations: predicting the rest of the exposure, and with the truth at
              all of the exposure and at EXPOSURE
cost          seconds of what is new beside those of 9 passes and the samples
"""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from below_noise import in_memory, measure
from calibration import centre
from common import parser, write
from noise import CASES, moved, trained, training_options
from unveil.data import MemorySource
from unveil.diffusion import posterior_samples
from unveil.evaluation.calibrated import calibration_record
from unveil.evaluation.conformal import LEVELS, conformal_bound
from unveil.evaluation.flux import block_sums, flux_record
from unveil.evaluation.interval import Error
from unveil.evaluation.rings import halves, ring_number, rings_record, with_truth
from unveil.evaluation.risk import BLOCK, estimate_risk
from unveil.evaluation.views import EXPOSURE, Predicted, against_reference, predict_rest
from unveil.measurement import Estimator, Measurement
from unveil.noise import Noise
from unveil.operators import Identity
from unveil.random import make_generator

CHOSEN = "gaussian:0.1,poisson:2,poisson:10,poisson-gaussian:10,gamma:4"
BATCH, HALVINGS, RINGED = 20, 200, 40


def fixed(m: Measurement) -> Tensor:
    low = avg_pool2d(pad(m.y, (1, 1, 1, 1), mode="reflect"), 3, 1)
    d = m.y - low
    return low + d * d.square() / (d.square() + 0.1**2)


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", required=True, metavar="DIR", help="clean images, more than --training")
    options.add_argument("--training", type=int, default=100, help="how many of them are learned from")
    options.add_argument("--cases", default=CHOSEN, help="some of " + ", ".join(CASES))
    options.add_argument("--draws", type=int, default=200, help="measurements; photographs in turn")
    options.add_argument("--side", type=int, default=64, help="of the centres, pixels")
    training_options(options, 200)
    options = options.parse_args()
    options.near = None
    torch.set_num_threads(options.threads)
    every = in_memory(options.data)
    training = every.subset(range(options.training))
    learned = MemorySource({training.name(i): training.read(i) for i in range(len(training))})
    x = torch.stack([centre(every.read(i), options.side) for i in range(options.training, len(every))])
    table: dict[str, Any] = {}
    for case in options.cases.split(","):
        noise = CASES[case]
        shift = float(getattr(noise, "offset", 0.0))
        clean = moved(learned, shift)
        f, _ = trained(f"{case}/known", "known", noise, noise, clean, measure(clean, noise, options.seed), options)
        table[case] = {"noise": str(noise)}
        for name, estimator in (("fixed", fixed), ("network", f.eval())):
            table[case][name] = row(estimator, x + shift, noise, options, name == "network")
            print(case, name, {k: v for k, v in table[case][name].items()}, flush=True)
        write(options.json, options, {"steps": options.steps, "side": options.side, "cases": table})


@torch.no_grad()
def row(f: Estimator, x: Tensor, noise: Noise, options, sampled: bool) -> dict[str, Any]:
    generator = make_generator("cpu", options.seed, 40)
    truths, errors, start = [], [], time.process_time()
    for first in range(0, options.draws, BATCH):
        which = torch.arange(first, min(first + BATCH, options.draws)) % len(x)
        m = Measurement(noise.sample(x[which], generator), Identity(), noise)
        x_hat = f(m)
        risk = estimate_risk(f, m, generator, x_hat=x_hat)
        truths += (x_hat - x[which]).square().flatten(1).mean(1).tolist()
        errors += [Error(float(error), float(se)) for error, se in zip(risk.error, risk.se)]
    seconds = (time.process_time() - start) / options.draws
    found = intervals(errors, truths) | {"conformal": conformal(errors, truths), "risk_seconds": seconds}
    found |= halved(f, x[:RINGED], noise, generator)
    return found | (samples(f, x, noise, generator) if sampled else {})


def intervals(errors: list[Error], truths: list[float]) -> dict[str, float]:
    z = [(one.error - true) / one.se for one, true in zip(errors, truths)]
    ends = [one.interval for one in errors]
    inside = [low <= -10 * math.log10(true) <= high for (low, high), true in zip(ends, truths)]
    return {
        "covers": statistics.mean(inside),
        "z_mean": statistics.mean(z),
        "z_deviation": statistics.stdev(z),
        "width": statistics.median(high - low for low, high in ends),
        "psnr": statistics.mean(-10 * math.log10(true) for true in truths),
        "claimed": 10 * math.log10(statistics.mean(truths) / statistics.mean(one.error for one in errors)),
    }


def conformal(errors: list[Error], truths: list[float]) -> dict[str, float]:
    generator, inside = make_generator("cpu", 41), dict.fromkeys(LEVELS, 0.0)
    for _ in range(HALVINGS):
        order = torch.randperm(len(errors), generator=generator).tolist()
        learned, tried = order[: len(order) // 2], order[len(order) // 2 :]
        for level in LEVELS:
            bound = conformal_bound([errors[i] for i in learned], level)
            inside[level] += sum(truths[i] <= bound for i in tried) / len(tried) / HALVINGS
    return {str(level): value for level, value in inside.items()}


def halved(f: Estimator, x: Tensor, noise: Noise, generator: torch.Generator) -> dict[str, Any]:
    """Resolution and intensities, over all of x."""
    m = Measurement(noise.sample(x, generator), Identity(), noise)
    x_hat, rings = f(m), ring_number(x.shape[-1])
    start = time.process_time()
    sums = halves(f, m, generator, rings, x_hat, x)
    seconds = (time.process_time() - start) / len(x)
    view, _ = m.recorrupt(torch.full((len(m),), 0.5), generator)
    pixels = rings_record(sums)["pixels"]
    true = rings_record(type(sums)(sums.count, sums.raw, sums.halves, sums.to_truth, with_truth(f(view), x, rings)))
    risk = [estimate_risk(f, m[i : i + 1], generator) for i in range(len(x))]
    flux = flux_record([block_sums(m[i : i + 1], x_hat[i : i + 1], one) for i, one in enumerate(risk)])
    u, h = (avg_pool2d(part, BLOCK).flatten().double() for part in (x, x_hat))
    return {
        "to_truth_half": pixels["to_truth_half"],
        "to_truth_half_true": true["pixels"]["reference_half"],
        "halves_seventh": pixels["halves_seventh"],
        "raw_seventh": pixels["raw_seventh"],
        "reference_half": pixels["reference_half"],
        "slope": None if flux is None else flux["slope"],
        "slope_se": None if flux is None else flux["se"],
        "slope_true": float(((u - u.mean()) * (h - h.mean())).mean() / u.var(correction=0)),
        "halves_seconds": seconds,
    }


def samples(f: Estimator, x: Tensor, noise: Noise, generator: torch.Generator, images: int = 4) -> dict[str, Any]:
    def draw(m: Measurement) -> Tensor:
        return posterior_samples(f, m, generator, samples=8, steps=25)

    seen: dict[str, list[Predicted]] = {"rest": [], "truth_at_view": [], "truth": []}
    start = time.process_time()
    for one in x[:images].split(1):
        m = Measurement(noise.sample(one, generator), Identity(), noise)
        seen["rest"].append(predict_rest(draw, m, generator))
        seen["truth_at_view"].append(truth(draw, m.noisier(torch.full((1,), EXPOSURE), generator), one, generator))
        seen["truth"].append(truth(draw, m, one, generator))
    seconds = (time.process_time() - start) / images
    found: dict[str, Any] = {"samples_seconds": seconds}
    for name, parts in seen.items():
        record = calibration_record(parts, [""] * images, EXPOSURE)
        keys = ("spread_over_error", "spread_over_error_se", "coverage", "coverage_se", "p_value")
        found[name] = {key: record[key] for key in keys}
    return found


def truth(draw: Callable[[Measurement], Tensor], m: Measurement, x: Tensor, generator: torch.Generator) -> Predicted:
    return against_reference(draw(m)[:, 0], x[0], generator)


if __name__ == "__main__":
    main()
