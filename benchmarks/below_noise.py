"""Denoising below the measured noise level: PSNR of networks trained at one level alone, one table of all routes.

    python benchmarks/below_noise.py --methods all --train DIR --test DIR --sigma-n 0.1 --steps 2000 --seeds 0,1 --json
    OUT

Every clean image of --train is measured once, with one draw of noise, as an instrument would; all methods but the
oracles see only these measurements. Each image of --test is corrupted once at each level, and looked at when all
training is over. Network, steps and batches are the same for all; each seed has its own initial weights, batches and
noise. --noise poisson has the gain in sigma_n's place: levels are gains then. Trainings are kept in --work: the same
command goes on where it stopped, several may share it with different
--methods or --seeds, and a last one with all of them makes the table.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common import parser, write
from methods import METHODS, Method
from plots import plot_below_noise
from unveil.config import Config, parse_config
from unveil.config_file import load_config, to_yaml
from unveil.data import MemorySource, crops, open_images
from unveil.dataset import Dataset
from unveil.evaluation import mean_square_error, psnr
from unveil.losses import LogUniform, Simulated
from unveil.measurement import Measurement
from unveil.noise import NOISES, Noise
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training import build_estimator, learn, train
from unveil.training.batches import make_batches
from unveil.training.recipes import suited

TIMED_STEPS = 9


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    network_options(options)
    options.add_argument("--seeds", default="0", help="of the trainings, e.g. 0,1,2; --seed is that of the test noise")
    options.add_argument("--methods", default="oracle,default", help="all, or some of " + ", ".join(METHODS))
    options.add_argument("--plot", type=Path, metavar="PNG", help="where the plot goes")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    names = list(METHODS) if options.methods == "all" else options.methods.split(",")
    if unknown := set(names) - set(METHODS):
        sys.exit(f"unknown methods {sorted(unknown)}; there are {', '.join(METHODS)}")
    seeds, levels = numbers(options.seeds, int), numbers(options.levels)

    clean, test = in_memory(options.train), in_memory(options.test)
    table: dict[str, dict] = {}
    for name in names:
        trained = [learned(name, clean, seed, options) for seed in seeds]
        runs = [[test_psnr(f, test, s, options) for s in levels] for f in trained]
        columns = list(zip(*runs))
        table[name] = {
            "label": METHODS[name].label,
            "psnr": [statistics.median(column) for column in columns],
            "lowest": [min(column) for column in columns],
            "highest": [max(column) for column in columns],
            "parameters": sum(p.numel() for p in trained[0].parameters()),
        }
    for name, ratio in step_times(names, clean, options).items():
        table[name]["step_over_supervised"] = ratio
    show(table, levels)
    result = {
        "noise": options.noise,
        "sigma_n": options.sigma_n,
        "steps": options.steps,
        "seeds": seeds,
        "crop": options.crop,
        "channels": clean.channels,
        "images": {"train": len(clean), "test": len(test)},
        "levels": levels,
        "methods": table,
    }
    write(options.json, options, result)
    if options.plot:
        plot_below_noise(result, options.plot)


def network_options(options) -> None:
    """What determines a training, shared with calibration.py."""
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--noise", choices=tuple(NOISES), default="gaussian")
    options.add_argument("--sigma-n", type=float, default=0.1, help="the level, or the gain")
    options.add_argument("--levels", default="0.01,0.02,0.05,0.075,0.1,0.15", help="noise levels of the test")
    options.add_argument("--steps", type=int, default=2000, help="gradient steps, all rounds included")
    options.add_argument("--crop", type=int, default=32, help="side of the crops, pixels")
    options.add_argument("--batch", type=int, default=32, help="crops a step")
    options.add_argument("--scales", default="", help="of all methods that learn from several, e.g. 1 or 1,2")
    options.add_argument(
        "--work", type=Path, metavar="DIR", help="keeps the trainings; default: OUT without its ending"
    )


def numbers(text: str, kind=float) -> list:
    return [kind(word) for word in text.split(",")]


def in_memory(path: str) -> MemorySource:
    source = open_images(path)
    return MemorySource({source.name(i): source.read(i) for i in range(len(source))})


def measure(clean: MemorySource, noise: Noise, seed: int) -> MemorySource:
    """One noisy version of each image."""
    return MemorySource(
        {
            clean.name(i): noise.sample(clean.read(i)[None], make_generator("cpu", seed, 10, i))[0]
            for i in range(len(clean))
        }
    )


def configuration(method: Method, seed: int, options) -> Config:
    """Of one training: its stages share the steps, and its levels reach as far above the test's as the oracle's."""
    stages = 1 if "steps" in method.em else 1 + method.em.get("rounds", 0)
    steps = options.steps // stages
    parameter = {"gaussian": "sigma", "poisson": "gain"}[options.noise]
    values = {
        "seed": seed,
        "data": {"path": options.train},
        "noise": {"kind": options.noise, parameter: options.sigma_n},
        "estimator": {"form": method.form},
        "loss": {"levels": [1.0, ratio(highest_level(options), options)]},
        "training": {
            "steps": steps,
            "crop": options.crop,
            "batch": options.batch,
            "checkpoint_every": 250,
            "validate_every": options.steps,
            "warmup": min(100, steps),
            **method.training,
        },
        "em": {"steps": steps, "images": 100, "draw_steps": 8, **method.em} if method.em else {},
    }
    return parse_config(values, "benchmark")


def highest_level(options) -> float:
    return 2 * max(numbers(options.levels))


def ratio(level: float, options) -> float:
    """Of the noise's level to the measured one: of counts the root of the gains' ratio."""
    return (level / options.sigma_n) ** (1 if options.noise == "gaussian" else 0.5)


def noise_of(options, level: float | None = None) -> Noise:
    return NOISES[options.noise](options.sigma_n if level is None else level)


@dataclass(frozen=True)
class Images:
    """A batch of clean images."""

    x: Tensor

    def to(self, device: str) -> "Images":
        return Images(self.x.to(device))


def oracle(options) -> Callable:
    """The supervised loss, at every level of the test and twice as high."""
    levels = LogUniform(0.8 * ratio(min(numbers(options.levels)), options), ratio(highest_level(options), options))
    simulated, noise = Simulated(levels), noise_of(options)
    return lambda f, images, generator: simulated(f, images.x, Identity(), noise, generator)


def batches_of(method: Method, source: MemorySource, config: Config, options) -> Callable:
    """Crops of clean images for the oracle, and of measurements for the others."""
    training = config.training
    if method.loss is None:
        return lambda generator: Images(crops(source, training.batch, training.crop, generator))
    scales = numbers(options.scales, int) if options.scales and len(method.scales) > 1 else method.scales
    data = Dataset(source, Identity(), noise_of(options))
    return make_batches(data, training.batch, training.crop, scales, True)


def learned(name: str, clean: MemorySource, seed: int, options) -> nn.Module:
    """The trained estimator of a method, from --work if it is there."""
    method = METHODS[name]
    config = configuration(method, seed, options)
    folder = (options.work or options.json.with_suffix("")) / f"{name}-{seed}"
    kept = folder / "config.yaml"
    if kept.is_file() and load_config(kept) != config:
        sys.exit(f"{folder} holds a training with other settings: choose another --work")
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(to_yaml(config))
    estimator = build_estimator(config, clean.channels, Identity(), not NOISES[options.noise].additive)
    start = time.monotonic()

    def stage(title: str):
        def progress(done: int, total: int, metrics: dict[str, float]) -> None:
            if done % 100 == 0 or done == total:
                print(
                    f"{name}, seed {seed}, {title}: {done}/{total}, {time.monotonic() - start:.0f} s", file=sys.stderr
                )

        return progress

    if method.loss is None:
        batches = batches_of(method, clean, config, options)
        return train(
            estimator, oracle(options), batches, config.training, folder, seed=seed, progress=stage("training")
        )
    data = Dataset(measure(clean, noise_of(options), seed), Identity(), noise_of(options))
    held_out = data.subset(
        range(min(8, len(data)))
    )  # noisy: only the inflation of the rounds' sampler is fitted to them
    scales = numbers(options.scales, int) if options.scales and len(method.scales) > 1 else method.scales
    return learn(
        estimator,
        data,
        held_out,
        config,
        folder,
        loss=method.loss(suited(config.loss, data.operator, data.noise)),
        scales=scales,
        device="cpu",
        stages=stage,
    )


@torch.no_grad()
def test_psnr(f: nn.Module, test: MemorySource, s: float, options) -> float:
    """Mean over the test images of the PSNR at level s, in dB; not clipped."""
    total, noise = 0.0, noise_of(options, s)
    for i in range(len(test)):
        x = test.read(i)[None]
        y = noise.sample(x, make_generator("cpu", options.seed, 20, i))
        total += psnr(float(mean_square_error(f(Measurement(y, Identity(), noise)), x))) / len(test)
    return total


def step_times(names: list[str], clean: MemorySource, options) -> dict[str, float]:
    """Time of a gradient step over that of the supervised one, each pair measured together; medians."""
    supervised = timed_step(METHODS["oracle"], clean, options)
    ratios: dict[str, list[float]] = {name: [] for name in names}
    steps = {name: timed_step(METHODS[name], clean, options) for name in names}
    for turn in range(TIMED_STEPS + 1):
        for name in names:
            base = supervised(turn)
            ratio = steps[name](turn) / base
            if turn:  # the first one allocates
                ratios[name].append(ratio)
    return {name: statistics.median(values) for name, values in ratios.items()}


def timed_step(method: Method, clean: MemorySource, options):
    """A function that takes one gradient step, batch included, and returns its seconds."""
    config = configuration(method, 0, options)
    suiting = suited(config.loss, Identity(), noise_of(options))
    loss = oracle(options) if method.loss is None else method.loss(suiting)
    batches = batches_of(method, clean, config, options)
    f = build_estimator(config, clean.channels, Identity(), not NOISES[options.noise].additive)
    optimizer = torch.optim.AdamW(f.parameters(), lr=1e-4)

    def step(turn: int) -> float:
        begin = time.perf_counter()
        batch = batches(make_generator("cpu", 0, turn))
        optimizer.zero_grad()
        loss(f, batch, make_generator("cpu", 1, turn)).mean().backward()
        optimizer.step()
        return time.perf_counter() - begin

    return step


def show(table: dict[str, dict], levels: list[float]) -> None:
    """PSNR, and the range over the seeds where there are several."""
    print("| network trained on | step | " + " | ".join(f"s={s:.3g}" for s in levels) + " |")
    print("|---" * (2 + len(levels)) + "|")
    for row in table.values():
        cells = []
        for middle, low, high in zip(row["psnr"], row["lowest"], row["highest"]):
            cells.append(f"{middle:.2f}" + (f" ({low:.2f} to {high:.2f})" if high > low else ""))
        print(f"| {row['label']} | {row['step_over_supervised']:.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
