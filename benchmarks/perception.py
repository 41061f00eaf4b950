"""Distortion against perception: the MMSE estimate, samples, means of k samples, and baselines on one plane.

    python benchmarks/perception.py --train DIR --test DIR --sigma-n 0.1 --work DIR --json OUT --plot PNG

No estimate has both the least error and the look of images (Blau and Michaeli 2018, https://arxiv.org/abs/1711.06077);
one exact sample costs 3 dB, and the mean of k of them has (1 + 1/k) times the least error. The networks are those of
below_noise.py with the same options, trained here or found in --work. Of each point, on centres of the test images:

psnr       of the mean square error over all
distance   Frechet distance on fixed features (features.py) from the clean images of the same scenes, the mean over
           disjoint means of k where there are several; "clean" is that of other scenes, the first of --train: the floor
           of another set of as many patches

Means of k samples also without a reference: predicted, (1 + 1/k) times the error of the estimate f by Stein's estimate;
by_spread, that error and |mean of k - f|^2, which add up where f is the posterior mean; by_stein, Stein's estimate of
the sampler itself, the draws of its noise held fixed, in the mean over the same means.

Baselines are told the level: BM3D, and total variation (Chambolle), its weight the best one on the first images of
--train.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from below_noise import in_memory, learned, network_options, noise_of
from calibration import PATCH, centre
from common import parser, write
from features import features
from frechet import frechet_distance
from methods import METHODS
from peers import denoised_by_bm3d
from plots import plot_perception
from unveil.diffusion import SCHEDULES, fit_inflation, posterior_samples
from unveil.evaluation import estimate_error, mean_square_error, psnr
from unveil.measurement import Measurement
from unveil.noise import Noise
from unveil.operators import Identity
from unveil.random import make_generator

WEIGHTS = (0.05, 0.07, 0.1, 0.14, 0.2)
"""Of total variation."""
TUNED = 8
"""Images that its weight is chosen on."""


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    network_options(options)
    options.add_argument("--methods", default="oracle,default", help="of " + ", ".join(METHODS))
    options.add_argument("--images", type=int, default=12, help="the first so many test images")
    options.add_argument("--side", type=int, default=96, help="of their central squares, pixels")
    options.add_argument("--samples", type=int, default=16, help="of each image")
    options.add_argument("--evaluations", type=int, default=25, help="of the network a sample")
    options.add_argument("--probed", type=int, default=2, help="of which so many are probed for Stein's estimate")
    options.add_argument("--plot", type=Path, metavar="PNG", help="where the plot goes")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    clean, test, noise = in_memory(options.train), in_memory(options.test), noise_of(options)
    x = torch.stack([centre(test.read(i), options.side) for i in range(min(options.images, len(test)))])
    others = torch.stack([centre(clean.read(i), options.side) for i in range(len(x))])
    m = Measurement(noise.sample(x, make_generator("cpu", options.seed, 30)), Identity(), noise)
    weight = tuned(others[:TUNED], noise, options)
    points = {
        "noisy": point(m.y[None], x),
        "BM3D": point(each(m.y, lambda y: denoised_by_bm3d(y, noise))[None], x),
        "TV": point(each(m.y, lambda y: total_variation(y, weight))[None], x) | {"weight": weight},
    }
    floor = frechet_distance(features(x, PATCH), features(others, PATCH))
    networks = {}
    for name in options.methods.split(","):
        networks[name] = {
            "label": METHODS[name].label,
            **means(learned(name, clean, options.seed, options), x, m, options),
        }
        print(name, networks[name], flush=True)
        result = {"sigma_n": options.sigma_n, "images": len(x), "clean": floor, "points": points, "networks": networks}
        write(options.json, options, result)
    if options.plot:
        plot_perception(result, options.plot)


def means(f: nn.Module, x: Tensor, m: Measurement, options) -> dict:
    """The estimate, and means of 1, 2, 4, ... samples, with the truth and without."""
    how = {"steps": options.evaluations, "schedule": SCHEDULES["karras"], "lowest": 0.05}
    inflation = fit_inflation(f, m, seed=options.seed, **how)

    @torch.no_grad()
    def sampler(m: Measurement, samples: int) -> Tensor:
        generator = make_generator("cpu", options.seed, 31)
        return posterior_samples(f, m, generator, samples=samples, inflation=inflation, batch=len(x), **how)

    with torch.no_grad():
        x_hat = f(m)
    error = float(estimate_error(f, m, make_generator("cpu", options.seed, 32)).mean())
    drawn = sampler(m, options.samples)
    e, weight = m.noise.probe(m.y, m.operator.mean, make_generator("cpu", options.seed, 33))
    moved = sampler(m.at(m.y + e), options.probed)
    found = {"inflation": inflation, "estimate": point(x_hat[None], x) | {"by_stein": psnr(error)}, "means": {}}
    for k in [2**i for i in range(options.samples.bit_length()) if 2**i <= options.samples]:
        groups = drawn.unflatten(0, (-1, k)).mean(1)
        row = point(groups, x) | {
            "predicted": psnr((1 + 1 / k) * error),
            "by_spread": psnr(error + float((groups - x_hat).square().mean())),
        }
        if k <= options.probed:
            h, after = (part[: options.probed].unflatten(0, (-1, k)).mean(1) for part in (drawn, moved))
            products = (weight * (after - h)).mean()
            stein = (m.y - h).square().mean() + 2 * products - m.noise.estimated_variance(m.y).mean()
            row |= {"by_stein": psnr(float(stein)), "psnr_of_these": psnr(float((h - x).square().mean()))}
        found["means"][k] = row
    return found


def point(several: Tensor, x: Tensor) -> dict[str, float]:
    """Where estimates (R, B, C, H, W) are on the plane."""
    reference = features(x, PATCH)
    distances = [frechet_distance(reference, features(one, PATCH)) for one in several]
    error = torch.stack([mean_square_error(one, x) for one in several])
    return {"psnr": psnr(float(error.mean())), "distance": sum(distances) / len(distances)}


def each(y: Tensor, denoised) -> Tensor:
    return torch.stack([torch.from_numpy(np.asarray(denoised(one[0].numpy()))).float()[None] for one in y])


def total_variation(y: np.ndarray, weight: float) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(y, weight)


def tuned(x: Tensor, noise: Noise, options) -> float:
    y = noise.sample(x, make_generator("cpu", options.seed, 34))
    return min(WEIGHTS, key=lambda w: float((each(y, lambda one: total_variation(one, w)) - x).square().mean()))


if __name__ == "__main__":
    main()
