"""Real measurements of many instruments, all on automatic: does the network gain, or is it told that it will not?

    python benchmarks/real.py --data DIR --steps 600 --work DIR --json benchmarks/results/real.json

--data: a folder of the cases below, each with a folder `noisy` of measurements and, where there is one, `mean` of
references by the same names (means of repeats):

oct          retinal OCT, log-compressed speckle (Fang et al. 2012), each the mean of registered repeats
photographs  developed and compressed by real cameras (PolyU, Xu et al. 2018, https://arxiv.org/abs/1804.02603)
micrograph   quarters of a cryo-EM micrograph; particles: seven of EMPIAR-10076; neither has a reference
sinograms    X-ray counts of a tooth, one of each row of the detector; the next row is a noisy reference of the other
scan         noise.npy, a complex noise scan (samples, coils) of MRI: the covariance of a half judges the other half

Per case `init`, `train`, `evaluate` and `denoise` with no other words than the steps, crop and batch. Columns:

before, after  what `init` says of the noise model: "does not fit", "refused", or nothing; and the verdict of `evaluate`
measured, unveil, bm3d  PSNR against the reference. BM3D is told the noise that is found (a transform
               makes that of counts Gaussian)
claimed        the PSNR that `evaluate` estimates without a reference, with its interval; None where it is unknown

Where the next row is the reference, its own noise (half the difference of the rows at high frequencies is no more than
that) is part of all three errors: they compare, and are no PSNR of the image.
"""

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import parser, write
from peers import denoised_by_bm3d
from unveil.checks import noise_fit
from unveil.data import open_images
from unveil.evaluation import psnr
from unveil.noise import Correlated, Gaussian, Poisson, PoissonGaussian, choose_noise
from unveil.runs.correlated import read_covariance

CASES = ("oct", "photographs", "micrograph", "particles", "sinograms", "scan")
REFUSED, DOES_NOT_FIT = 2, 5


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--work", type=Path, required=True, metavar="DIR")
    options.add_argument("--cases", default=",".join(CASES))
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--crop", type=int, default=48)
    options.add_argument("--batch", type=int, default=8)
    options = options.parse_args()
    table: dict[str, Any] = {}
    for case in options.cases.split(","):
        table[case] = scan(options) if case == "scan" else row(case, options)
        print(case, table[case], flush=True)
        write(options.json, options, {"steps": options.steps, "cases": table})


def row(case: str, options) -> dict[str, Any]:
    noisy, mean = options.data / case / "noisy", options.data / case / "mean"
    work = options.work / case
    work.mkdir(parents=True, exist_ok=True)
    init = unveil(options, "init", noisy, "--out", work / "case.yaml", "--force")
    said = [line.replace(str(noisy), noisy.name) for line in init.stderr.splitlines() if "noise" in line]
    if init.returncode == REFUSED:
        return {"before": "refused", "said": said}
    settings = {f"training.{key}": getattr(options, key) for key in ("steps", "crop", "batch")}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run = work / "run"
    if not (run / "model.safetensors").exists():
        unveil(options, "train", *((run,) if run.exists() else (work / "case.yaml", "--out", run, *words)))
    judged = unveil(options, "evaluate", run, noisy, "--sampled", 0)
    unveil(options, "denoise", run, noisy, "--out", work / "denoised", "--force")
    figures = json.loads(judged.stdout)
    result: dict[str, Any] = {
        "before": verdict(said),
        "said": said,
        "after": figures["fit"]["verdict"],
        "claimed": figures["evidence"]["error"]["mean"],
        "not valid": figures["not_valid"],
        "images": len(open_images(noisy)),
    }
    if mean.exists():
        largest = white(mean)
        y, x = values([noisy], largest), values([mean], largest)
        x_hat = values(sorted((work / "denoised").glob("*.tif")), largest)
        noise = choose_noise([torch.from_numpy(image).float() for image in y]).noise
        result["noise"] = str(noise)
        result["measured"], result["unveil"] = compared(y, x), compared(x_hat, x)
        if type(noise) in (Gaussian, Poisson, PoissonGaussian):
            result["bm3d"] = compared([np.stack([denoised_by_bm3d(c, noise) for c in image]) for image in y], x)
    return result


def scan(options) -> dict[str, Any]:
    """What the check says of half of a noise scan, told the covariance of the other half, and told white noise."""
    n = np.load(options.data / "scan" / "noise.npy")
    n = n / np.abs(n).std()
    half = options.work / "half.npy"
    np.save(half, n[: len(n) // 2])
    covariance = torch.from_numpy(read_covariance(str(half), "half"))
    e = np.concatenate([n[len(n) // 2 :].real.T, n[len(n) // 2 :].imag.T])
    side = math.isqrt(e.shape[1])
    images = [torch.from_numpy(e[:, : side**2].reshape(-1, side, side)).float()]
    sigma = float(covariance.trace() / len(covariance)) ** 0.5
    directions = torch.linalg.eigvalsh(covariance) / sigma**2
    told = noise_fit(images, Correlated(sigma, covariance=(covariance / sigma**2).float()))
    white = noise_fit(images, Gaussian(sigma))
    return {
        "coils": n.shape[1],
        "variance of directions": [float(directions[0]), float(directions[-1])],
        "covariance": told.verdict,
        "white": white.verdict,
        "said of white": white.reason,
    }


def unveil(options, *words: object) -> subprocess.CompletedProcess[str]:
    more = ("--json",) if words[0] in ("init", "evaluate") else ()
    device = () if words[0] == "init" else ("--device", options.device)
    command = [sys.executable, "-m", "unveil", *map(str, words), *more, *device]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in (0, REFUSED, DOES_NOT_FIT) or (result.returncode == REFUSED and words[0] != "init"):
        sys.exit(f"unveil {words[0]} failed: {result.stderr}")
    return result


def verdict(said: list[str]) -> str | None:
    return "does not fit" if any("does not fit" in line or "no family fits" in line for line in said) else None


def white(folder: Path) -> float:
    """The number in the files that counts as 1: the largest of their type, or there is."""
    source = open_images(folder)
    kind = source.origin(0).dtype
    return float(np.iinfo(kind).max if kind.kind in "iu" else max(source.read(i).max() for i in range(len(source))))


def values(paths: list[Path], largest: float) -> list[np.ndarray]:
    """The images (C, H, W) of folders or files, largest at 1."""
    sources = [open_images(path, value_range=(0, largest)) for path in paths]
    return [source.read(i).double().numpy() for source in sources for i in range(len(source))]


def compared(found: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """PSNR, mean over the images."""
    return statistics.mean(psnr(float(np.mean((a - b) ** 2))) for a, b in zip(found, reference))


if __name__ == "__main__":
    main()
