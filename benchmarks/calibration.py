"""Posterior samples: are they spread as widely as the MMSE estimate errs, and do they look like the data?

    python benchmarks/calibration.py --train DIR --test DIR --sigma-n 0.1 --steps 2000 --work DIR --json OUT

The networks are those of below_noise.py with the same options: trained here, or found in --work. Per network and
number of evaluations:

spread / error   mean variance of the samples over the mean square error of the MMSE estimate: 1 for exact samples
estimated PSNR   of the MMSE estimate, without the reference (`unveil.evaluation.estimate_error`)
sample PSNR      of one sample; exact samples are 3.01 dB below the MMSE estimate
distance         Frechet distance on fixed features (features.py) between a sample and the clean image
of
                 the same scenes: that of the samples of one draw, the mean over draws

The inflation of "fitted" is found without a reference, on the noisy test images or on eight noisy training images.
"""

import torch

from below_noise import in_memory, learned, measure, network_options, noise_of
from common import parser, write
from features import features
from frechet import frechet_distance
from methods import METHODS
from unveil.diffusion import SCHEDULES, fit_inflation, posterior_samples
from unveil.evaluation import estimate_error, mean_square_error, psnr, spread_over_error
from unveil.measurement import Measurement
from unveil.operators import Identity
from unveil.random import make_generator

SETTINGS = tuple((name, fitted, steps) for name in SCHEDULES for fitted in (False, True) for steps in (10, 25, 50))
"""(schedule, whether the inflation is fitted, evaluations)."""

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
    noise = noise_of(options)
    m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 30)), Identity(), noise)
    noisy = measure(clean, noise, options.seed)
    training = torch.stack([centre(noisy.read(i), options.side) for i in range(min(8, len(noisy)))])
    fitted_to = m if options.fit_to == "test" else Measurement(training, Identity(), noise)
    settings = [s for s in SETTINGS if s[2] <= options.most_steps]
    table = {}
    columns = "schedule | evaluations | inflation | spread / error | sample PSNR | MMSE PSNR | estimated | distance"
    print(f"| network | {columns} |")
    print("|---" * 9 + "|")
    for name in options.methods.split(","):
        f = learned(name, clean, options.seed, options)
        table[name] = [row(f, x, m, fitted_to, *setting, options) for setting in settings]
        for r in table[name]:
            print(
                f"| {METHODS[name].label} | {r['schedule']} | {r['evaluations']} | {r['inflation']:.3f} | "
                f"{r['spread_over_error']:.3f} | {r['psnr_sample']:.2f} | {r['psnr_mmse']:.2f} | "
                f"{r['psnr_estimated']:.2f} | {r['distance']:.2f} |",
                flush=True,
            )
    mmse = {"noisy": distance(m.y[None], x)} | {
        name: distance(learned(name, clean, options.seed, options)(m).detach()[None], x) for name in table
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


def row(
    f, x: torch.Tensor, m: Measurement, fitted_to: Measurement, schedule: str, fitted: bool, steps: int, options
) -> dict:
    """One line of the table: samples of every image, drawn together."""
    how = {"steps": steps, "schedule": SCHEDULES[schedule], "lowest": options.lowest}
    inflation = fit_inflation(f, fitted_to, seed=options.seed, **how) if fitted else 0.0
    with torch.no_grad():
        error = mean_square_error(f(m), x)
        estimated = estimate_error(f, m, make_generator("cpu", options.seed, 32)).mean()
    samples = posterior_samples(
        f,
        m,
        make_generator("cpu", options.seed, 31),
        samples=options.samples,
        inflation=inflation,
        batch=options.samples * len(x),
        **how,
    )
    return {
        "schedule": schedule,
        "fitted": fitted,
        "inflation": inflation,
        "evaluations": steps,
        "spread_over_error": spread_over_error(samples, error),
        "psnr_sample": psnr(float(torch.stack([mean_square_error(s, x) for s in samples]).mean())),
        "psnr_mmse": psnr(float(error.mean())),
        "psnr_estimated": psnr(float(estimated)),
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
