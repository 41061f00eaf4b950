"""Noise learned along with the network (UNSURE) beside noise that is found in the data: how far off, and what it costs.

    python benchmarks/unsure.py --train DIR --test DIR --steps 300 --batch 16 --json benchmarks/results/unsure.json

Clean images are measured once in noise of each case, as noise.py has them. Two networks see only that:

estimated   the default recipe, at one scale, told the noise that `choose_noise` finds in as many as `init` looks at
learned     the recipe unsure, which begins with that noise; once told what it learned, and once what it began with

Of cases "from" something else the second alone: it begins with noise that is twice as strong, or white.

noise: parameters; of correlated noise with the correlation of neighbours. psnr: mean over the test images, whole,
measured in the true noise. told: which noise other measurements of the test images speak for (`unveil.runs.learned`).
bound: of Gaussian noise sigma / (1 - e / sigma^2)^(1/2), e the error of the network that was told the estimate: what is
learned where f is as good as that.
"""

import math
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from below_noise import in_memory, measure
from common import parser, write
from noise import counted, moved, read_out
from unveil.checks.look import spread
from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.evaluation import mean_square_error, psnr
from unveil.losses import Unsure
from unveil.measurement import Measurement
from unveil.noise import Correlated, Gaussian, Noise, choose_noise
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.runs.learned import choose_told
from unveil.training import build_estimator, learn
from unveil.training.learn import recipe_loss


def neighbours(beside: float, diagonal: float) -> torch.Tensor:
    """What makes correlated noise of white one."""
    return torch.tensor([[diagonal, beside, diagonal], [beside, 1.0, beside], [diagonal, beside, diagonal]])


BLURRED, HARDLY, STRONGLY = (Correlated(0.1, neighbours(*g)) for g in ((0.36, 0.13), (0.2, 0.05), (0.6, 0.3)))
CASES: dict[str, tuple[Noise, Noise | None]] = {
    "gaussian:0.1": (Gaussian(0.1), None),
    "gaussian:0.1 from 0.2": (Gaussian(0.1), Gaussian(0.2)),
    "poisson:10": (counted(10), None),
    "poisson-gaussian:10": (read_out(10), None),
    "blurred:0.1": (BLURRED, None),
    "blurred:0.1 from white": (BLURRED, Correlated(0.1)),
    "hardly blurred:0.1": (HARDLY, None),
    "correlated:0.1": (STRONGLY, None),
}
"""The true noise, and that which learning begins with where it is not the one that is found."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--cases", default=",".join(CASES), help="some of " + ", ".join(CASES))
    options.add_argument("--steps", type=int, default=300, help="gradient steps")
    options.add_argument("--crop", type=int, default=32, help="side of the crops, pixels")
    options.add_argument("--batch", type=int, default=16, help="crops a step")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test, table = in_memory(options.train), in_memory(options.test), {}
    for case in options.cases.split(","):
        table[case] = row(case, clean, test, options)
        print(case, table[case], flush=True)
        write(options.json, options, {"steps": options.steps, "images": [len(clean), len(test)], "cases": table})


def row(case: str, clean: MemorySource, test: MemorySource, options) -> dict[str, Any]:
    true, first = CASES[case]
    clean, test = (moved(images, getattr(true, "offset", 0.0)) for images in (clean, test))
    noisy, seen = measure(clean, true, options.seed), measure(test, true, options.seed + 1)
    found = choose_noise([noisy.read(i) for i in spread(len(noisy))]).noise
    assert isinstance(found, Noise)
    begun, errors = "estimated" if first is None else "begun with", {}
    first = first or found
    result: dict[str, Any] = {"noise": {"true": figures(true), begun: figures(first)}}
    if begun == "estimated":
        f, _ = trained(f"{case} estimated", "default", first, noisy, options)
        errors["estimated"] = error(f, test, true, first, options)
    f, loss = trained(f"{case} learned", "unsure", first, noisy, options)
    assert isinstance(loss, Unsure)
    learned = loss.learned(first)
    errors["learned"] = error(f, test, true, learned, options)
    errors["learned, told what it began with"] = error(f, test, true, first, options)
    result["noise"]["learned"] = figures(learned)
    told = choose_told(f, Dataset(seen, Identity(), first), loss, seed=options.seed)
    assert told is not None
    result["told"], result["why"] = "learned" if told.told else begun, told.why
    result["psnr"] = {name: statistics.mean(psnr(e) for e in values) for name, values in errors.items()}
    if isinstance(true, Gaussian) and "estimated" in errors:
        variance = float(true.sigma) ** 2
        left = statistics.mean(errors["estimated"]) / variance
        result["bound"] = math.sqrt(variance / (1 - left)) if left < 1 else None
    return result


def trained(key: str, recipe: str, noise: Noise, noisy: MemorySource, options) -> tuple[nn.Module, Any]:
    """The network and its loss."""
    training = {
        "steps": options.steps, "crop": options.crop, "batch": options.batch, "checkpoint_every": options.steps,
        "validate_every": options.steps, "warmup": min(50, options.steps),
    }  # fmt: skip
    values = {"seed": options.seed, "data": {"path": "simulated"}, "loss": {"recipe": recipe}, "training": training}
    config, data = parse_config(values, "benchmark"), Dataset(noisy, Identity(), noise)
    loss, start = recipe_loss(config, data), time.monotonic()

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done % 50 == 0:
            factors = {name: round(value, 3) for name, value in metrics.items() if name.startswith("factor")}
            print(f"{key}: {done}/{total}, {time.monotonic() - start:.0f} s {factors}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        f = learn(
            build_estimator(config, noisy.channels, Identity(), noise.uneven), data, data.subset(range(8)), config,
            Path(folder), loss=loss, device="cpu", stages=lambda title: progress,
        )  # fmt: skip
    return f, loss


@torch.no_grad()
def error(f: nn.Module, test: MemorySource, true: Noise, told: Noise, options) -> list[float]:
    """The mean square error of each test image."""
    errors = []
    for i in range(len(test)):
        x = test.read(i)[None]
        m = Measurement(true.sample(x, make_generator("cpu", options.seed, 20, i)), Identity(), true)
        errors.append(float(mean_square_error(f(replace(m, noise=told)), x)))
    return errors


def figures(noise: Noise) -> dict[str, float]:
    """Its parameters."""
    named = {name: getattr(noise, name) for name in ("sigma", "gain", "read", "offset") if hasattr(noise, name)}
    values = {name: float(torch.as_tensor(value)) for name, value in named.items()}
    for name, window in (("along rows", (1, 2)), ("along columns", (2, 1))):
        if (correlation := noise.correlation(*window)) is not None:
            values[name] = float(correlation[0, 1])
    return values


if __name__ == "__main__":
    main()
