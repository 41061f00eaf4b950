"""Learning from noise as instruments have it: per family and count, the gap to the supervised network, and peers.

    python benchmarks/noise.py --train DIR --test DIR --steps 600 --work DIR --json benchmarks/results/noise.json

Clean images are measured once in noise of each family; all but the supervised network see only that. Network, steps and
batches are the same for all trainings. Counts are those of the images' mean brightness. Rows of a case:

supervised   fresh noise on the clean images, at every level that the others train at and below
known        the default recipe, told the parameters of the noise
estimated    the default recipe, on parameters found in the measurements (noise.kind auto)
r2r, sure, unsure   the losses of deepinv for this family: R2RLoss; SureGaussianLoss, SurePoissonLoss or SurePGLoss; the
             same with its parameters unknown, from half of them on
bm3d         BM3D of the variance-stabilised image (generalised Anscombe, Makitalo and Foi 2013; of speckle the
             logarithm), told the parameters: the package bm3d

psnr: mean over the test images, whole, at the measured exposure and at others. claimed: without a reference
(`estimate_error`) less the true one, dB of the mean square errors over all test images. spread / error: of 2 samples
in 25 evaluations of central squares, 1 for exact ones. Trainings are kept in --work: the same command goes on where
it stopped.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from below_noise import Images, in_memory, measure
from calibration import centre
from common import parser, write
from peers import DEEPINV, denoised_by_bm3d, objective
from unveil.config import Config, parse_config
from unveil.data import MemorySource, crops
from unveil.dataset import Dataset
from unveil.diffusion import fit_inflation, posterior_samples
from unveil.evaluation import estimate_error, mean_square_error, psnr, spread_over_error
from unveil.losses import LogUniform, Simulated
from unveil.measurement import Measurement
from unveil.noise import Gamma, Gaussian, Noise, Poisson, PoissonGaussian, choose_noise
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.runs.signal import with_signal_law
from unveil.training import build_estimator, learn, train
from unveil.training.batches import make_batches

MEAN = 0.44
"""Of the photographs."""
READ, OFFSET = 1.5, 0.1
"""Of the camera: read noise in photons, and what the dark is read as."""
EXPOSURES = (0.5, 4, 16)
"""At which the networks are looked at beside the measured one."""
LOWEST = 0.08
"""Of the levels that the supervised network trains at, over the measured one: as low as sampling needs."""
SIDE, SAMPLES, EVALUATIONS = 64, 2, 25
METHODS = ("supervised", "known", "estimated", *DEEPINV, "bm3d")


def counted(n: float) -> Noise:
    return Poisson(MEAN / n)


def read_out(n: float) -> Noise:
    return PoissonGaussian(MEAN / n, READ * MEAN / n, OFFSET)


FAMILIES: dict[str, tuple[Callable[[float], Noise], tuple[float, ...]]] = {
    "gaussian": (Gaussian, (0.1,)),
    "poisson": (counted, (0.5, 1.76, 2, 8.8, 10, 100)),  # 1.76 and 8.8: 4 and 20 photons at white
    "poisson-gaussian": (read_out, (2, 10, 100)),
    "gamma": (Gamma, (1, 4, 16)),
}
CASES = {f"{name}:{value:g}": make(value) for name, (make, values) in FAMILIES.items() for value in values}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--cases", default=",".join(CASES), help="some of " + ", ".join(CASES))
    options.add_argument("--methods", default=",".join(METHODS), help="some of " + ", ".join(METHODS))
    training_options(options, 600)
    options.add_argument("--near", type=float, help="loss.near of the default recipe, to choose it")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test, table = in_memory(options.train), in_memory(options.test), {}
    for case in options.cases.split(","):
        shift = getattr(CASES[case], "offset", 0.0)
        table[case] = {
            "noise": str(CASES[case]),
            "methods": rows(case, moved(clean, shift), moved(test, shift), options),
        }
        write(options.json, options, {"steps": options.steps, "images": [len(clean), len(test)], "cases": table})


def training_options(options, steps: int) -> None:
    """What determines a training, shared with pure_noise.py and w2s.py. steps: the default."""
    options.add_argument("--steps", type=int, default=steps, help="gradient steps")
    options.add_argument("--crop", type=int, default=32, help="side of the crops, pixels")
    options.add_argument("--batch", type=int, default=32, help="crops a step")
    options.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps the trainings")


def moved(source: MemorySource, offset: float | Tensor) -> MemorySource:
    """The images with the dark at the offset."""
    return MemorySource({source.name(i): source.read(i) + float(offset) for i in range(len(source))})


def rows(case: str, clean: MemorySource, test: MemorySource, options) -> dict[str, dict[str, Any]]:
    """All methods of one case, on one draw of the measurements."""
    noise, found = CASES[case], {}
    noisy = measure(clean, noise, options.seed)
    for name in options.methods.split(","):
        start = time.process_time()
        if name == "bm3d":
            row = classical(noise, test, options)
        elif name in DEEPINV and type(noise) not in DEEPINV[name]:
            continue  # deepinv has none
        else:
            model = choose_noise([noisy.read(i) for i in range(len(noisy))]).noise if name == "estimated" else noise
            if not isinstance(model, Noise):  # of each image its own, which none of these is
                found[name] = {"noise": str(model), "wrong": "another noise was found than there is; not trained"}
                continue
            f, seconds = trained(f"{case}/{name}", name, model, noise, clean, noisy, options)
            row = {"noise": str(model), "seconds": seconds, **figures(f, model, noise, test, options)}
        found[name] = {**row, "processor_seconds": time.process_time() - start}
        print(case, name, {k: round(v, 3) for k, v in row.items() if isinstance(v, float)}, flush=True)
    return found


def configuration(options) -> Config:
    loss = {} if options.near is None else {"near": options.near}
    training = {
        "steps": options.steps, "crop": options.crop, "batch": options.batch, "checkpoint_every": 200,
        "validate_every": options.steps, "warmup": min(100, options.steps),
    }  # fmt: skip
    data = {"path": "simulated"}
    return parse_config({"seed": options.seed, "data": data, "loss": loss, "training": training}, "benchmark")


def trained(key: str, name: str, model: Noise, noise: Noise, clean, noisy, options) -> tuple[nn.Module, float]:
    """The network of a row, and the seconds of its training; 0 where it was kept.

    model: the noise that it is told. noise: the true one.
    """
    config = with_signal_law(configuration(options), {}, noisy, model, Identity())
    folder = options.work / key.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    estimator = build_estimator(config, clean.channels, Identity(), model.uneven)
    start = time.monotonic()

    def progress(done: int, total: int, metrics: dict[str, float]) -> None:
        if done % 100 == 0 or done == total:
            print(f"{key}: {done}/{total}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    data, scales = Dataset(noisy, Identity(), model), (1, 2, 4)
    if name in ("known", "estimated"):
        f = learn(
            estimator, data, data.subset(range(8)), config, folder, scales=scales, device=options.device,
            stages=lambda title: progress,
        )  # fmt: skip
        return f.to(options.device), time.monotonic() - start
    if name == "supervised":
        simulated = Simulated(LogUniform(LOWEST, config.loss.levels[1]))
        batches = lambda generator: Images(crops(clean, options.batch, options.crop, generator))  # noqa: E731
        loss = lambda f, images, generator: simulated(f, images.x, Identity(), noise, generator)  # noqa: E731
    else:
        batches = make_batches(data, options.batch, options.crop, (1,), True)
        loss = objective(name, noise)
    f = train(
        estimator, loss, batches, config.training, folder, seed=options.seed, device=options.device, progress=progress
    )
    return f.to(options.device), time.monotonic() - start


@torch.no_grad()
def figures(f: nn.Module, model: Noise, noise: Noise, test: MemorySource, options) -> dict[str, float]:
    """Those of the module's docstring."""
    errors, claimed, device = [], [], options.device
    for i in range(len(test)):
        x = test.read(i)[None]
        m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 20, i)), Identity(), model).to(device)
        errors.append(float(mean_square_error(f(m), x.to(device))))
        claimed.append(float(estimate_error(f, m, make_generator(device, options.seed, 21, i))))
    x = torch.stack([centre(test.read(i), SIDE) for i in range(len(test))])
    m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 30)), Identity(), model).to(device)
    how: dict[str, Any] = {"steps": EVALUATIONS}
    draw = partial(posterior_samples, f, m, samples=SAMPLES, batch=SAMPLES * len(x), **how)
    with torch.enable_grad():
        inflation = fit_inflation(f, m, seed=options.seed, **how)
    true = mean_square_error(f(m), x.to(device))
    others = {f"psnr at exposure {t:g}": other(f, model.exposed(t), noise.exposed(t), test, options) for t in EXPOSURES}
    return {
        "psnr": statistics.mean(psnr(e) for e in errors),
        **others,
        "claimed": psnr(max(statistics.mean(claimed), 1e-9)) - psnr(statistics.mean(errors)),
        "spread_over_error": spread_over_error(draw(make_generator(device, options.seed, 31)), true),
        "inflation": inflation,
        "spread_over_error_fitted": spread_over_error(
            draw(make_generator(device, options.seed, 31), inflation=inflation), true
        ),
    }


def other(f: nn.Module, model: Noise, noise: Noise, test: MemorySource, options) -> float:
    """PSNR of f on measurements in another noise than it learned from."""
    total = 0.0
    for i in range(len(test)):
        x = test.read(i)[None]
        y = noise.sample(x, make_generator("cpu", options.seed, 22, i))
        x_hat = f(Measurement(y, Identity(), model).to(options.device)).cpu()
        total += psnr(float(mean_square_error(x_hat, x))) / len(test)
    return total


def classical(noise: Noise, test: MemorySource, options) -> dict[str, float]:
    """BM3D on the test images; also what the measurements are themselves."""
    found, measured = [], []
    for i in range(len(test)):
        x = test.read(i)[None]
        y = noise.sample(x, make_generator("cpu", options.seed, 20, i))
        denoised = denoised_by_bm3d(y[0, 0].double().numpy(), noise)
        found.append(psnr(float(np.mean((denoised - x[0, 0].numpy()) ** 2))))
        measured.append(psnr(float(mean_square_error(y, x))))
    return {"psnr": statistics.mean(found), "psnr_measured": statistics.mean(measured)}


if __name__ == "__main__":
    main()
