"""Images of noise alone, of each family: is nothing found in them?

    python benchmarks/pure_noise.py --steps 300 --work DIR --json benchmarks/results/pure_noise.json

There is one brightness and nothing to see. Per family a network is trained on such images by the default recipe, with
the noise found in them (noise.kind auto) or the true one, and applied to others:

check         whether the noise model fits, told before training
estimates     deviation of f(y) over that of the noise; the bound of a right answer is 3%; off: with its mean's error
samples       the deviation of samples of the posterior in 25 evaluations
neighbours    correlation of neighbouring pixels in the samples, less that in the estimates; structure would show here
"""

import sys

import torch
from torch import Tensor

from common import parser, write
from noise import CASES, MEAN, configuration, trained, training_options
from unveil.checks.fit import noise_fit
from unveil.data import MemorySource
from unveil.diffusion import posterior_samples
from unveil.measurement import Measurement
from unveil.noise import choose_noise
from unveil.operators import Identity
from unveil.random import make_generator

IMAGES, TESTED, SIDE = 48, 6, 128


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--cases", default="gaussian:0.1,poisson:2,poisson-gaussian:2,gamma:4")
    options.add_argument("--told", default="estimated", help="of the noise: estimated, or known, or both")
    training_options(options, 300)
    options = options.parse_args()
    options.near = None
    torch.set_num_threads(options.threads)
    print("| noise | told | check | estimates | samples | neighbours |")
    print("|---" * 6 + "|")
    table = {}
    for case in options.cases.split(","):
        for told in options.told.split(","):
            table[case if told == "estimated" else f"{case}, {told}"] = row(case, told, options)
            write(options.json, options, {"steps": configuration(options).training.steps, "cases": table})


def row(case: str, told: str, options) -> dict:
    noise = CASES[case]
    flat = torch.full((1, 1, SIDE, SIDE), MEAN + float(getattr(noise, "offset", 0.0)))

    def images(count: int, key: int) -> list[Tensor]:
        return [noise.sample(flat, make_generator("cpu", options.seed, key, i))[0] for i in range(count)]

    noisy = MemorySource({str(i): y for i, y in enumerate(images(IMAGES, 1))})
    found = choose_noise(list(noisy.read(i) for i in range(IMAGES)))
    model = noise if told == "known" else found.noise
    fit = noise_fit([noisy.read(i) for i in range(IMAGES)], model)
    f, _ = trained(f"{case}/pure {told}", told, model, noise, noisy, noisy, options)
    device = options.device
    m = Measurement(torch.stack(images(TESTED, 2)), Identity(), model).to(device)
    with torch.no_grad():
        x_hat = f(m)
    samples = posterior_samples(f, m, make_generator(device, options.seed, 3), samples=2, batch=2 * TESTED).cpu()
    x_hat = x_hat.cpu()
    level = float(noise.variance(flat).mean().sqrt())
    result = {
        "noise": str(noise),
        "told": str(noise) if told == "known" else str(found),
        "check": fit.verdict,
        "estimates": float(x_hat.std()) / level,
        "estimates_off": float((x_hat - flat).square().mean().sqrt()) / level,
        "samples": float(samples.std()) / level,
        "neighbours": neighbours(samples.flatten(0, 1)) - neighbours(x_hat),
    }
    numbers = " | ".join(f"{result[key]:.3f}" for key in ("estimates", "samples", "neighbours"))
    print(f"| {case} | {result['told']} | {fit.verdict} | {numbers} |", flush=True)
    return result


def neighbours(x: Tensor) -> float:
    """The covariance of neighbours, over the variance, of images (B, C, H, W)."""
    x = x - x.mean((-2, -1), keepdim=True)
    return float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean().clamp_min(sys.float_info.min))


if __name__ == "__main__":
    main()
