"""Denoising below the measured noise level: PSNR of networks trained at sigma_n alone, one table.

    python benchmarks/below_noise.py --train DIR --test DIR --sigma-n 0.1 --steps 2000 --json OUT

Every clean image of --train is measured once, with one draw of noise, as an instrument would; all methods but the
oracle see only these measurements. Trainings are kept in --work: the same command goes on where it stopped. Each image of --test is corrupted once at each level. The same network, budget and
seed for all; the test images are looked at when all training is over.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from common import parser, write
from unveil.config import Config, parse_config, to_yaml
from unveil.data import MemorySource, crops, open_images
from unveil.evaluation import mean_square_error, psnr
from unveil.noise import Gaussian
from unveil.random import make_generator, normal
from unveil.risks import Dilate, LogUniform, Oracle, Risk
from unveil.training import build_estimator, make_risk, train

LEVELS = (0.1, 0.2, 0.5, 0.75, 1.0, 1.5)
"""Test levels as multiples of sigma_n: .01 .02 .05 .075 .1 .15 at sigma_n = .1."""

METHODS = {
    "oracle": ("clean images (oracle)", None, "preconditioned"),
    "oracle-equivariant": ("clean images (oracle), equivariant wrapper", None, "equivariant"),
    "sure": ("SURE at s >= sigma_n", "sure", "preconditioned"),
    "nsure": ("N-SURE, log-uniform a", "nsure", "preconditioned"),
    "default": ("default: dilation + Ambient Tweedie, equivariant wrapper", "default", "equivariant"),
    "default-plain": ("dilation + Ambient Tweedie, no wrapper", "default", "preconditioned"),
    "mixed": ("mixed: dilation + SURE, equivariant wrapper", "mixed", "equivariant"),
    "consistency": ("naive measurement consistency", "consistency", "preconditioned"),
}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--sigma-n", type=float, default=0.1)
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--methods", default="oracle,sure,nsure,default", help="of " + ", ".join(METHODS))
    options.add_argument(
        "--work", type=Path, metavar="DIR", help="keeps the trainings; default: OUT without its ending"
    )
    options.add_argument("--dilation", default="1,2,4", help="block sizes")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    names = options.methods.split(",")
    if unknown := set(names) - set(METHODS):
        sys.exit(f"unknown methods {sorted(unknown)}; there are {', '.join(METHODS)}")

    clean, test = in_memory(options.train), in_memory(options.test)
    noisy = measure(clean, options.sigma_n, options.seed)
    estimators = {}
    for name in names:
        _, recipe, form = METHODS[name]
        config = configuration(options, recipe or "default", form)
        estimators[name] = learn(name, config, clean if recipe is None else noisy, recipe, options)
    levels = [options.sigma_n * ratio for ratio in LEVELS]
    rows = {name: [test_psnr(f, test, s, options.seed) for s in levels] for name, f in estimators.items()}
    show(rows, levels, names)
    result = {
        "sigma_n": options.sigma_n,
        "steps": options.steps,
        "channels": clean.channels,
        "images": {"train": len(clean), "test": len(test)},
        "levels": levels,
        "psnr": {name: dict(label=METHODS[name][0], psnr=rows[name]) for name in names},
        "parameters": sum(p.numel() for p in next(iter(estimators.values())).parameters()),
    }
    write(options.json, options, result)


def in_memory(path: str) -> MemorySource:
    source = open_images(path)
    return MemorySource({source.name(i): source.read(i) for i in range(len(source))})


def measure(clean: MemorySource, sigma_n: float, seed: int) -> MemorySource:
    """One noisy version of each image."""
    noise = Gaussian(sigma_n)
    return MemorySource(
        {
            clean.name(i): noise.sample(clean.read(i)[None], make_generator("cpu", seed, 10, i))[0]
            for i in range(len(clean))
        }
    )


def configuration(options, recipe: str, form: str) -> Config:
    return parse_config(
        {
            "seed": options.seed,
            "data": {"path": options.train},
            "noise": {"sigma": options.sigma_n},
            "estimator": {"form": form},
            "risk": {"recipe": recipe, "dilation": [int(k) for k in options.dilation.split(",")]},
            "training": {"steps": options.steps, "checkpoint_every": 250, "warmup": min(100, options.steps)},
        },
        "benchmark",
    )


def learn(name: str, config: Config, source: MemorySource, recipe: str | None, options) -> nn.Module:
    """The trained estimator."""
    top = LEVELS[-1] * 2 * options.sigma_n
    risk: Risk = Oracle(LogUniform(0.08 * options.sigma_n, top)) if recipe is None else make_risk(config.risk)
    window = config.training.crop * (max(risk.factors) if isinstance(risk, Dilate) else 1)

    def batches(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = crops(source, config.training.batch, window, generator)
        return y, torch.full((len(y),), options.sigma_n)

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done % 100 == 0:
            print(f"{name}: {done}/{total}", file=sys.stderr)

    folder = (options.work or options.json.with_suffix("")) / name
    settings = to_yaml(config)
    kept = folder / "config.yaml"
    if kept.is_file() and kept.read_text() != settings:
        sys.exit(f"{folder} holds a training with other settings: choose another --work")
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(settings)
    estimator = build_estimator(config, source.channels)
    return train(estimator, risk, batches, config.training, folder, seed=options.seed, progress=progress)


@torch.no_grad()
def test_psnr(f: nn.Module, test: MemorySource, s: float, seed: int) -> float:
    """Mean over the test images of the PSNR at level s, in dB; not clipped."""
    total = 0.0
    for i in range(len(test)):
        x = test.read(i)[None]
        x_hat = f(x + s * normal(x, make_generator("cpu", seed, 20, i)), s)
        total += psnr(float(mean_square_error(x_hat, x))) / len(test)
    return total


def show(rows: dict[str, list[float]], levels: list[float], names: list[str]) -> None:
    print("| network trained on | " + " | ".join(f"s={s:.3g}" for s in levels) + " |")
    print("|---" * (1 + len(levels)) + "|")
    for name in names:
        print(f"| {METHODS[name][0]} | " + " | ".join(f"{value:.2f}" for value in rows[name]) + " |")


if __name__ == "__main__":
    main()
