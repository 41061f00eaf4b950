"""Are posterior samples spread as widely as the MMSE estimate errs? Per solver and number of network evaluations.

    python benchmarks/calibration.py --train DIR --test DIR --sigma-n 0.1 --steps 2000 --work DIR --json OUT

The networks are those of below_noise.py with the same options: trained here, or found in --work. spread / error is the
samples' mean variance over the mean square error of the MMSE estimate: 1 for exact samples of the posterior.
"""

from pathlib import Path

import torch

from below_noise import METHODS, configuration, in_memory, learn, measure
from common import parser, write
from unveil.diffusion import SOLVERS, geometric, posterior_samples
from unveil.evaluation import mean_square_error, psnr, spread_over_error
from unveil.random import make_generator, normal

SETTINGS = (
    ("ancestral", 25),
    ("ancestral", 50),
    ("ancestral", 100),
    ("heun", 13),
    ("heun", 25),
    ("dpm2m", 25),
    ("dpm2m", 50),
)
"""(solver, steps)."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--train", required=True, metavar="DIR", help="clean images")
    options.add_argument("--test", required=True, metavar="DIR", help="clean images, none of them in --train")
    options.add_argument("--sigma-n", type=float, default=0.1)
    options.add_argument("--steps", type=int, default=2000, help="training steps")
    options.add_argument("--work", type=Path, metavar="DIR", help="trainings of below_noise.py")
    options.add_argument("--methods", default="oracle,default", help="of " + ", ".join(METHODS))
    options.add_argument("--dilation", default="1,2,4", help="block sizes")
    options.add_argument("--images", type=int, default=12, help="the first so many test images")
    options.add_argument("--side", type=int, default=96, help="of their central squares, pixels")
    options.add_argument("--samples", type=int, default=4, help="of each image")
    options.add_argument("--lowest", type=float, default=0.05, help="last level, as a multiple of sigma_n")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test = in_memory(options.train), in_memory(options.test)
    noisy = measure(clean, options.sigma_n, options.seed)
    x = torch.stack([centre(test.read(i), options.side) for i in range(min(options.images, len(test)))])
    y = x + options.sigma_n * normal(x, make_generator("cpu", options.seed, 30))
    table = {}
    print("| network | solver | steps | evaluations | spread / error | sample PSNR | MMSE PSNR |\n" + "|---" * 7 + "|")
    for name in options.methods.split(","):
        _, recipe, form = METHODS[name]
        config = configuration(options, recipe or "default", form)
        f = learn(name, config, clean if recipe is None else noisy, recipe, options)
        table[name] = [row(f, x, y, solver, steps, options) for solver, steps in SETTINGS]
        for r in table[name]:
            print(
                f"| {name} | {r['solver']} | {r['steps']} | {r['evaluations']} | {r['spread_over_error']:.3f} | "
                f"{r['psnr_sample']:.2f} | {r['psnr_mmse']:.2f} |"
            )
    write(options.json, options, {"sigma_n": options.sigma_n, "lowest": options.lowest, "table": table})


def row(f: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, name: str, steps: int, options) -> dict:
    """One line of the table: samples of every image, drawn together."""
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
        solver=SOLVERS[name](),
        schedule=geometric,
        sigma_min=options.lowest * options.sigma_n,
        batch=options.samples * len(y),
        generator=make_generator("cpu", options.seed, 31),
    )
    return {
        "solver": name,
        "steps": steps,
        "evaluations": calls,
        "spread_over_error": spread_over_error(samples, error),
        "psnr_sample": psnr(float(torch.stack([mean_square_error(s, x) for s in samples]).mean())),
        "psnr_mmse": psnr(float(error.mean())),
    }


def centre(x: torch.Tensor, side: int) -> torch.Tensor:
    """The central square of x (C, H, W)."""
    top, left = ((size - side) // 2 for size in x.shape[1:])
    return x[:, top : top + side, left : left + side]


if __name__ == "__main__":
    main()
