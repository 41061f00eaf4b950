"""Real fluorescence (W2S, Zhou et al. 2020, https://arxiv.org/abs/2003.05961), all on automatic, beside its peers.

    python benchmarks/w2s.py --data DIR --steps 600 --work DIR --json benchmarks/results/w2s.json

--data: NNN_C_single.tif, one exposure, and NNN_C_mean.tif, the mean of 400, of the fields NNN in the channels C. Each
image was stretched to 8 bits by itself, so that a PSNR is taken after the slope and the offset that fit it best to the
reference. All networks learn from all single exposures, as the user of a microscope has no others; the last fields are
looked at, and those before them where something is chosen ("psnr of validation"). Rows:

unveil       `unveil init`, `train` and `denoise`, with no other words than the steps, crop, batch and widths
r2r, sure, unsure   deepinv's losses on the same network, steps and batches. They know no gain of each image's own: they
             are given the images divided by the gains that unveil found
supervised   the network taught by the means of 400 of the other fields, each fitted to its exposure: what one that knew
             them could reach with this network and these few images
bm3d         BM3D of the variance-stabilised image (see peers.py), told the parameters that unveil found
"""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from below_noise import in_memory
from common import parser, write
from noise import configuration, training_options
from peers import DEEPINV, denoised_by_bm3d, objective
from unveil.config import Config
from unveil.data import MemorySource, open_images
from unveil.data.crops import draw_boxes, read_boxes
from unveil.dataset import Dataset
from unveil.evaluation import psnr
from unveil.losses import precision
from unveil.measurement import Measurement
from unveil.noise import PoissonGaussian, choose_noise
from unveil.operators import Identity
from unveil.runs.noise import noise_of
from unveil.training import build_estimator, train
from unveil.training.batches import make_batches

METHODS = ("unveil", "supervised", *DEEPINV, "bm3d")


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True, metavar="DIR")
    options.add_argument("--fields", type=int, default=4, help="how many fields are looked at, the last ones")
    options.add_argument("--widths", type=int, nargs="+", default=[32, 48, 64], help="of the UNet, finest first")
    options.add_argument("--methods", default=",".join(METHODS), help="some of " + ", ".join(METHODS))
    training_options(options, 600)
    options = options.parse_args()
    options.near = None
    torch.set_num_threads(options.threads)
    folder = options.work / "single"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(options.data.glob("*_single.tif")):
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    source = in_memory(str(folder))
    known = choose_noise([source.read(i) for i in range(len(source))])
    noise = noise_of(known.each or known.noise, source)
    fields = sorted({path.name.split("_")[0] for path in folder.iterdir()})
    chosen, tested = (
        [i for i in range(len(source)) if source.name(i).split("_")[0] in some]
        for some in (fields[-2 * options.fields : -options.fields], fields[-options.fields :])
    )
    table: dict[str, Any] = {}
    for name in ("measured", *options.methods.split(",")):
        start, looked = time.monotonic(), chosen + tested
        if name == "measured":
            found = {i: source.read(i)[0].numpy() for i in looked}
        elif name == "supervised":
            found = supervised(source, noise, looked, options)
        elif name == "unveil":
            found = automatic(folder, source, looked, options)
        elif name == "bm3d":
            found = {i: denoised_by_bm3d(source.read(i)[0].double().numpy(), one(noise, i)) for i in looked}
        else:
            found = of_peer(name, source, noise, looked, options)
        validation = row({i: found[i] for i in chosen}, source, options)["psnr"]
        of_tested = row({i: found[i] for i in tested}, source, options)
        table[name] = {**of_tested, "psnr of validation": validation, "seconds": time.monotonic() - start}
        print(name, {k: round(v, 2) for k, v in table[name].items()}, flush=True)
        images = {"all": len(source), "tested": [source.name(i) for i in tested]}
        write(options.json, options, {"steps": options.steps, "images": images, "noise": str(known), "methods": table})


def one(noise: PoissonGaussian, i: int) -> PoissonGaussian:
    """The noise of image i."""
    return noise.select(torch.tensor([i]))


def row(found: dict[int, np.ndarray], source: MemorySource, options) -> dict[str, float]:
    """PSNR against the mean of 400 exposures, after an affine fit, of each channel and of all."""
    values: dict[str, list[float]] = {}
    for i, x_hat in found.items():
        name = source.name(i)
        x = mean_of(source, i, options)
        design = np.stack([x_hat.ravel(), np.ones(x.size)], 1)
        fitted = design @ np.linalg.lstsq(design, x.ravel(), rcond=None)[0]
        values.setdefault(f"channel {name.split('_')[1]}", []).append(psnr(float(np.mean((fitted - x.ravel()) ** 2))))
    every = [value for several in values.values() for value in several]
    return {"psnr": statistics.mean(every)} | {k: statistics.mean(v) for k, v in values.items()}


def mean_of(source: MemorySource, i: int, options) -> np.ndarray:
    """The mean of 400 exposures of image i."""
    path = options.data / f"{source.name(i).removesuffix('_single')}_mean.tif"
    return open_images(path).read(0)[0].double().numpy()


@dataclass(frozen=True)
class Pairs:
    """Windows of exposures, and what they show."""

    m: Measurement
    x: torch.Tensor

    def to(self, device: str) -> "Pairs":
        return Pairs(self.m.to(device), self.x.to(device))


def supervised(source: MemorySource, noise: PoissonGaussian, looked: list[int], options) -> dict[int, np.ndarray]:
    """What the network makes of the images that was taught by the other fields' means."""
    others, means = [i for i in range(len(source)) if i not in looked], {}
    for i in others:
        x, y = mean_of(source, i, options), source.read(i)[0].double().numpy()
        slope, offset = np.polyfit(x.ravel(), y.ravel(), 1)
        means[source.name(i)] = torch.from_numpy(slope * x + offset).float()[None]
    singles, clean, which = source.subset(others), MemorySource(means), torch.tensor(others)

    def batches(generator: torch.Generator) -> Pairs:
        boxes = draw_boxes(singles, options.batch, options.crop, generator)
        m = Measurement(read_boxes(singles, boxes), Identity(), noise.select(which[boxes.images]))
        return Pairs(m, read_boxes(clean, boxes))

    def loss(f: nn.Module, pairs: Pairs, generator: torch.Generator) -> torch.Tensor:
        return precision(pairs.m) * (f(pairs.m) - pairs.x).square().flatten(1).mean(1)

    f, config, work = *network(options), options.work / "supervised"
    work.mkdir(parents=True, exist_ok=True)
    f = train(f, loss, batches, config.training, work, seed=options.seed, device=options.device).eval()
    data = Dataset(source, Identity(), noise)
    with torch.no_grad():
        return {i: f(data[i])[0, 0].numpy() for i in looked}


def network(options) -> tuple[nn.Module, Config]:
    """The network that all methods train, and how."""
    config = configuration(options)
    shape = config.estimator.model_copy(update={"widths": tuple(options.widths)})
    config = config.model_copy(update={"estimator": shape})
    return build_estimator(config, 1, Identity(), uneven=True), config


def automatic(folder: Path, source: MemorySource, tested: list[int], options) -> dict[int, np.ndarray]:
    """What the commands make of the folder, in the numbers of its files over 255."""
    config, run, out = (options.work / name for name in ("w2s.yaml", "run", "denoised"))

    def unveil(*words: object) -> None:
        result = subprocess.run([sys.executable, "-m", "unveil", *map(str, words)])
        if result.returncode:
            sys.exit(f"unveil {words[0]} failed")

    if not config.exists():
        unveil("init", folder, "--out", config)
    if not (run / "model.safetensors").exists():
        settings = {f"training.{key}": getattr(options, key) for key in ("steps", "crop", "batch")}
        settings["estimator.widths"] = options.widths
        sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        start = (run,) if run.exists() else (config, "--out", run, *sets)
        unveil("train", *start, "--device", options.device)
    unveil("denoise", run, folder, "--out", out, "--device", options.device)
    return {i: np.squeeze(open_images(out / f"{source.name(i)}.tif").read(0).numpy()) for i in tested}


def of_peer(name: str, source: MemorySource, noise: PoissonGaussian, tested: list[int], options):
    """What the network makes of the images that learned by a loss of deepinv; all at one gain, their dark at 0."""
    gain = noise.gain.median()
    scaled = {source.name(i): (source.read(i) - noise.offset[i]) * gain / noise.gain[i] for i in range(len(source))}
    common = PoissonGaussian(gain, (noise.read / noise.gain).median() * gain, torch.zeros(()))
    data = Dataset(MemorySource(scaled), Identity(), common)
    f, config = network(options)
    work = options.work / name
    work.mkdir(parents=True, exist_ok=True)
    batches = make_batches(data, options.batch, options.crop, (1,), True)
    f = train(
        f, objective(name, common), batches, config.training, work, seed=options.seed, device=options.device
    ).eval()
    with torch.no_grad():
        return {i: f(data[i])[0, 0].numpy() for i in tested}


if __name__ == "__main__":
    main()
