"""Posterior samples: are they spread as widely as the MMSE estimate errs, and do they look like the data?

    python benchmarks/calibration.py --train DIR --test DIR --sigma-n 0.1 --steps 2000 --work DIR --json OUT

The networks are those of below_noise.py with the same options: trained here, or found in --work. Per network, solver and
number of evaluations:

spread / error   mean variance of the samples over the mean square error of the MMSE estimate: 1 for exact samples
sample PSNR      of one sample; exact samples are 3.01 dB below the MMSE estimate
distance         Frechet distance on fixed features (`unveil.evaluation.features`) between a sample and the clean image of
                 the same scenes: that of the samples of one draw, the mean over draws

The gain of "dpm2m, fitted" is found without a reference, on the noisy test images or on eight noisy training images.
"""

import torch

from below_noise import in_memory, learned, measure, network_options
from common import parser, write
from methods import METHODS
from unveil.diffusion import DPM2M, Ancestral, Heun, Solver, fit_gain, posterior_samples
from unveil.evaluation import features, frechet_distance, mean_square_error, psnr, spread_over_error
from unveil.random import make_generator, normal

SETTINGS: tuple[tuple[str, Solver | None, int], ...] = (
    ("ancestral", Ancestral(), 25),
    ("ancestral", Ancestral(), 50),
    ("heun", Heun(), 13),
    ("heun", Heun(), 25),
    ("dpm2m", DPM2M(), 25),
    ("dpm2m", DPM2M(), 50),
    ("dpm2m, fitted", None, 25),
    ("dpm2m, fitted", None, 50),
)
"""(name, solver or None for the fitted one, steps)."""

PATCH = 32


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    network_options(options)
    options.add_argument("--methods", default="oracle,default", help="of " + ", ".join(METHODS))
    options.add_argument("--images", type=int, default=12, help="the first so many test images")
    options.add_argument("--side", type=int, default=96, help="of their central squares, pixels")
    options.add_argument("--samples", type=int, default=2, help="of each image")
    options.add_argument(
        "--fit-to", default="test", choices=("test", "training"), help="noisy images the gain is fitted to"
    )
    options.add_argument("--most-steps", type=int, default=50, help="leaves out settings with more")
    options.add_argument("--lowest", type=float, default=0.05, help="last level, as a multiple of sigma_n")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test = in_memory(options.train), in_memory(options.test)
    x = torch.stack([centre(test.read(i), options.side) for i in range(min(options.images, len(test)))])
    y = x + options.sigma_n * normal(x, make_generator("cpu", options.seed, 30))
    noisy = measure(clean, options.sigma_n, options.seed)
    training = torch.stack([centre(noisy.read(i), options.side) for i in range(min(8, len(noisy)))])
    fitted_to = y if options.fit_to == "test" else training
    settings = [s for s in SETTINGS if s[2] <= options.most_steps]
    table = {}
    print("| network | solver | evaluations | gain | spread / error | sample PSNR | MMSE PSNR | distance |")
    print("|---" * 8 + "|")
    for name in options.methods.split(","):
        f = learned(name, clean, options.seed, options)
        table[name] = [row(f, x, y, fitted_to, *setting, options) for setting in settings]
        for r in table[name]:
            print(
                f"| {METHODS[name].label} | {r['solver']} | {r['evaluations']} | {r['gain']:.3f} | "
                f"{r['spread_over_error']:.3f} | {r['psnr_sample']:.2f} | {r['psnr_mmse']:.2f} | {r['distance']:.2f} |",
                flush=True,
            )
    mmse = {"noisy": distance(y[None], x)} | {
        name: distance(learned(name, clean, options.seed, options)(y, options.sigma_n).detach()[None], x)
        for name in table
    }
    write(
        options.json,
        options,
        {
            "sigma_n": options.sigma_n,
            "fit_to": options.fit_to,
            "lowest": options.lowest,
            "distance_of_estimates": mmse,
            "table": table,
        },
    )


def row(f, x: torch.Tensor, y: torch.Tensor, fitted_to: torch.Tensor, name: str, solver, steps: int, options) -> dict:
    """One line of the table: samples of every image, drawn together."""
    low = options.lowest * options.sigma_n
    if solver is None:
        solver = DPM2M(fit_gain(f, fitted_to, options.sigma_n, seed=options.seed, steps=steps, sigma_min=low))
    calls = 0

    def counted(v: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return f(v, s)

    with torch.no_grad():
        error = mean_square_error(f(y, options.sigma_n), x)
    samples = posterior_samples(
        counted,
        y,
        options.sigma_n,
        samples=options.samples,
        steps=steps,
        solver=solver,
        sigma_min=low,
        batch=options.samples * len(y),
        generator=make_generator("cpu", options.seed, 31),
    )
    return {
        "solver": name,
        "gain": getattr(solver, "gain", 0.0),
        "steps": steps,
        "evaluations": calls,
        "spread_over_error": spread_over_error(samples, error),
        "psnr_sample": psnr(float(torch.stack([mean_square_error(s, x) for s in samples]).mean())),
        "psnr_mmse": psnr(float(error.mean())),
        "distance": distance(samples, x),
    }


def distance(samples: torch.Tensor, x: torch.Tensor) -> float:
    """The mean over the S draws of samples (S, B, C, H, W) of their distance to x (B, C, H, W)."""
    reference = features(x, PATCH)
    return sum(frechet_distance(reference, features(s, PATCH)) for s in samples) / len(samples)


def centre(x: torch.Tensor, side: int) -> torch.Tensor:
    """The central square of x (C, H, W)."""
    top, left = ((size - side) // 2 for size in x.shape[1:])
    return x[:, top : top + side, left : left + side]


if __name__ == "__main__":
    main()
