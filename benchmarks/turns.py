"""How often should self-calibration turn? Simulated sources at a real observation's coverage, corrupted by stations.

    python benchmarks/turns.py --run runs/m87 --data FILE.uvfits --json OUT

--run: trained as examples/m87.md says. Two kinds of sources: those that the run was trained on the like of, and the
same with a bright spot beside, of which no start knows. Each has random phases and gains of 10% for each station in
each scan, and noise as m87.py gives it. After each turn of `self_calibrate`:

psnr    dB, the mean over sources, of the image, its flux that of the truth, moved to where it is most like it
chi2    reduced, of closure phases and of log closure amplitudes, medians over sources; first those of the start
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from common import parser, write
from m87 import aligned, observed
from unveil.instruments.interferometry.coverage import Coverage, whiten
from unveil.instruments.interferometry.nearest import nearest_source
from unveil.instruments.interferometry.operator import interferometry
from unveil.instruments.interferometry.selfcal import FITS, self_calibrate, worst
from unveil.instruments.interferometry.simulated import read_observation, simulate
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.runs import open_run

TURNS = 8


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--run", type=Path, required=True)
    options.add_argument("--data", type=Path, required=True, metavar="FILE")
    options.add_argument("--count", type=int, default=24, help="sources of each kind")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    run = open_run(options.run)
    section = run.config.operator

    def image(coverage: Coverage, visibilities: Tensor) -> Tensor:
        A = interferometry(coverage, section.pixels, section.field_of_view, section.brightness)
        with torch.no_grad():
            return run.estimator(A)(Measurement(whiten(visibilities, coverage)[None].float(), A, Gaussian(A.sigma)))

    seen = read_observation(options.data, section.field_of_view)
    generator = make_generator("cpu", options.seed, 88)
    x, brightness = simulate(seen, section.pixels, options.count, generator)
    result = {}
    for name, truths in {"as simulated": x, "with a spot beside": with_spot(x, generator)}.items():
        psnr, fits = [], []
        for truth in truths:
            file = options.json.with_suffix(".uvfits")
            observed(truth * brightness, seen, options.data, file, section.field_of_view, generator)
            found = read_observation(file, section.field_of_view)
            start, turns = nearest_source(found, section.pixels, make_generator("cpu", options.seed)), []
            for _ in range(TURNS):
                turns.append(self_calibrate(found, image, start, section.brightness, turns=1))
                start = turns[-1].x
            psnr.append([likeness(turn.x[0, 0].double(), truth[0].double()) for turn in turns])
            fits.append([turns[0].fits[0], *(turn.fits[1] for turn in turns)])
            file.unlink()
        result[name] = {
            "psnr": torch.tensor(psnr).mean(0).tolist(),
            "chi2": torch.tensor(fits).median(0).values.tolist(),
            "starts_that_fit": sum(worst(fit[0]) <= FITS for fit in fits),
        }
        print(name, result[name], flush=True)
    write(options.json, options, {"sources": options.count, "kinds": result})


def with_spot(x: Tensor, generator: torch.Generator) -> Tensor:
    """x (N, 1, side, side) and a Gaussian spot of .7 of its brightness, .15 to .5 half widths from the centre."""
    axis = torch.linspace(-1, 1, x.shape[-1])
    spots = []
    for angle, radius, width in torch.rand(len(x), 3, generator=generator).tolist():
        far, phase = 0.15 + 0.35 * radius, 2 * math.pi * angle
        square = (axis - far * math.cos(phase)) ** 2 + (axis[:, None] - far * math.sin(phase)) ** 2
        spots.append(0.7 * torch.exp(-square / (2 * (0.07 + 0.08 * width) ** 2)))
    x = x + torch.stack(spots)[:, None]
    return x / x.amax((1, 2, 3), keepdim=True)


def likeness(x: Tensor, truth: Tensor) -> float:
    """PSNR, dB, of x (H, W) with the flux of the truth, of whose maximum it is."""
    x = x * (truth.sum() / x.sum())
    return float(10 * (truth.max() ** 2 / (aligned(x, truth) - truth).square().mean()).log10())


if __name__ == "__main__":
    main()
