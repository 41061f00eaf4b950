"""The demo: the main job, on images that scikit-image ships.

The measurements are made once, as an instrument would; the clean images go to a folder that training never opens. Then
come the same train, evaluate and report as for anybody's folder.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor

import unveil
from unveil.cli.device import torch_device
from unveil.cli.evaluate import evaluate_and_report
from unveil.cli.init import width_of
from unveil.cli.outputs import Results, check_free, open_results
from unveil.cli.screen import say
from unveil.cli.train import train_with_bar
from unveil.cli.use import with_sets
from unveil.config import Config, parse_config
from unveil.config_file import override, to_yaml
from unveil.data import (
    heldout_cells,
    heldout_photographs,
    open_images,
    save_image,
    training_cells,
    training_photographs,
)
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.idle import refuse_idle
from unveil.noise import Gaussian, PoissonGaussian
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.runs import create_run
from unveil.runs.noise import find_noise, noise_of
from unveil.runs.signal import with_signal_law
from unveil.training.setup import open_source

__all__ = ["run_demo"]

SIGMA_N = 0.1
PEAK, BACKGROUND = 20.0, 1.0
"""Photons of the brightest and of the darkest places of the cells."""
CAMERA = PoissonGaussian(gain=2.0, read=2.0, offset=100.0)
"""In the camera's numbers."""


@dataclass(frozen=True)
class Scene:
    """What is measured, and how. x of the images is in [0, 1].

    images: of training, and held out, by name. signal: x -> the noiseless measurement, as it is kept for reference.
    measure: (signal, generator) -> what the instrument writes. what: in a line. values: of the configuration.
    """

    images: Callable[[], tuple[dict[str, Tensor], dict[str, Tensor]]]
    signal: Callable[[Tensor], Tensor]
    measure: Callable[[Tensor, torch.Generator], Tensor]
    what: str
    values: Mapping[str, Any]


PHOTOGRAPHS = Scene(
    lambda: (training_photographs(), heldout_photographs()),
    lambda x: x,
    lambda u, generator: Gaussian(SIGMA_N).sample(u[None], generator)[0],
    f"photographs with noise of deviation {SIGMA_N}",
    {"noise": {"kind": "gaussian", "sigma": SIGMA_N}, "training": {"steps": 1000}},
)
CELLS = Scene(
    lambda: (training_cells(), heldout_cells()),
    lambda x: float(CAMERA.offset) + float(CAMERA.gain) * (BACKGROUND + (PEAK - BACKGROUND) * x),
    lambda u, generator: CAMERA.sample(u[None], generator)[0].round().clamp_min(0).to(torch.uint16),
    f"images of cells in {BACKGROUND:g} to {PEAK:g} photons, by a camera of unknown gain, read noise and offset",
    {"noise": {"kind": "auto"}, "training": {"steps": 1000}},
)


def run_demo(
    out: Path, sets: Sequence[str], seed: int, device: str, dry_run: bool, force: bool = False, microscope: bool = False
) -> None:
    if out.is_dir() and not (out / "measurements").is_dir() and any(out.iterdir()):
        raise UnveilError(f"{out}: holds other files; choose another folder with --out")
    torch_device(device)
    scene = CELLS if microscope else PHOTOGRAPHS
    data = {"path": str(out / "measurements" / "training")}
    values = override({"seed": seed, "data": data, **{k: dict(v) for k, v in scene.values.items()}}, sets)
    config = refuse_idle(parse_config(values, "--set"), "--set")
    call = {"command": "demo", "unveil": unveil.__version__, "config": config.model_dump(mode="json")}
    images = named(scene)
    results = open_results(out, call, [name for name, _ in images], [], force=force, dry_run=dry_run)
    if dry_run:
        say(to_yaml(config))
        say(f"would measure {scene.what}, train on those and write {out}")
        return
    if not results.resumed and (out / "run").exists():
        check_free(out / "run", force)
        shutil.rmtree(out / "run")
    measure(results, scene, images, seed)
    config = with_what_is_found(config, values)
    run = create_run(out / "run", config)
    f = train_with_bar(run, device)
    source, clean = (
        open_images(out / name, value_range=config.data.value_range) for name in ("measurements/heldout", "reference")
    )
    heldout = Dataset(source, Identity(), noise_of(run.noise, source))
    evaluate_and_report(run, f, heldout, clean, len(source), with_sets(run, []), seed, device)


def named(scene: Scene) -> list[tuple[str, Tensor]]:
    """Return (file, x) of each image: those that are measured, for training first, and the clean held-out ones."""
    training, heldout = scene.images()
    return [
        *((f"measurements/training/{name}.tif", x) for name, x in training.items()),
        *((f"measurements/heldout/{name}.tif", x) for name, x in heldout.items()),
        *((f"reference/{name}.tif", x) for name, x in heldout.items()),
    ]


def measure(results: Results, scene: Scene, images: Sequence[tuple[str, Tensor]], seed: int) -> None:
    """Write the measurements, and the clean held-out images beside them for the closing table."""
    for key, (name, x) in enumerate(images):
        u = scene.signal(x)
        y = u if name.startswith("reference/") else scene.measure(u, make_generator("cpu", seed, key))
        write(results.path(name), y)
    parts = [name.split("/")[1] for name, _ in images]
    say(f"measured {scene.what}: {parts.count('training')} for training and {parts.count('heldout')} to test on")


def write(path: Path, y: Tensor) -> None:
    """Write y (C, H, W) as an instrument would: whole numbers as such."""
    if y.is_floating_point():
        save_image(path, y)
    else:
        tifffile.imwrite(path, np.squeeze(y.numpy(), 0))


def with_what_is_found(config: Config, values: dict[str, Any]) -> Config:
    """Return the configuration with the range, the mean and the deviation that `unveil init` finds in the data."""
    found = None if config.data.value_range is not None else width_of(config, open_source(config))
    if found is not None:
        config = parse_config(override(values, [f"data.value_range=[{found[0]}, {found[1]}]"]), "--set")
    source = open_source(config)
    noise = noise_of(find_noise(config, source, Identity()), source)
    return with_signal_law(config, values.get("estimator", {}), source, noise, Identity())
