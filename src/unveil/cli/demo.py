"""The demo: the main job, on photographs that scikit-image ships.

The measurements are made once, as an instrument would; the clean photographs go to a folder that training never
opens. Then come the same train, evaluate and report as for anybody's folder.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

import unveil
from unveil.cli.device import torch_device
from unveil.cli.evaluate import evaluate_and_report
from unveil.cli.outputs import Results, check_free, open_results
from unveil.cli.screen import say
from unveil.cli.train import train_with_bar
from unveil.cli.use import with_sets
from unveil.config import parse_config
from unveil.config_file import override, to_yaml
from unveil.data import heldout_photographs, open_images, save_image, training_photographs
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.idle import refuse_idle
from unveil.noise import Gaussian
from unveil.operators.identity import Identity
from unveil.random import make_generator
from unveil.runs import create_run

__all__ = ["run_demo"]

SIGMA_N = 0.1
STEPS = 1000


def run_demo(out: Path, sets: Sequence[str], seed: int, device: str, dry_run: bool, force: bool = False) -> None:
    if out.is_dir() and not (out / "measurements").is_dir() and any(out.iterdir()):
        raise UnveilError(f"{out}: holds other files; choose another folder with --out")
    torch_device(device)
    defaults = {
        "seed": seed,
        "data": {"path": str(out / "measurements" / "training")},
        "noise": {"sigma": SIGMA_N},
        "training": {"steps": STEPS},
    }
    config = refuse_idle(parse_config(override(defaults, sets), "--set"), "--set")
    call = {"command": "demo", "unveil": unveil.__version__, "config": config.model_dump(mode="json")}
    images = photographs()
    results = open_results(out, call, [name for name, _ in images], [], force=force, dry_run=dry_run)
    if dry_run:
        say(to_yaml(config))
        say(f"would measure photographs with noise of deviation {SIGMA_N}, train on those and write {out}")
        return
    if not results.resumed and (out / "run").exists():
        check_free(out / "run", force)
        shutil.rmtree(out / "run")
    measure(results, images, seed)
    run = create_run(out / "run", config)
    f = train_with_bar(run, device)
    source, clean = open_images(out / "measurements" / "heldout"), open_images(out / "reference")
    data = Dataset(source, Identity(), Gaussian(SIGMA_N))
    evaluate_and_report(run, f, data, clean, len(source), with_sets(run, []), seed, device)


def photographs() -> list[tuple[str, Tensor]]:
    """Return (file, photograph) of each: those that are measured, for training first, and the clean held-out ones."""
    training, heldout = training_photographs().items(), heldout_photographs().items()
    return [
        *((f"measurements/training/{name}.tif", x) for name, x in training),
        *((f"measurements/heldout/{name}.tif", x) for name, x in heldout),
        *((f"reference/{name}.tif", x) for name, x in heldout),
    ]


def measure(results: Results, images: Sequence[tuple[str, Tensor]], seed: int) -> None:
    """Write the noisy photographs, and the clean held-out ones beside them for the closing table."""
    noise = Gaussian(SIGMA_N)
    for key, (name, x) in enumerate(images):
        y = x if name.startswith("reference/") else noise.sample(x[None], make_generator("cpu", seed, key))[0]
        save_image(results.path(name), y)
    parts = [name.split("/")[1] for name, _ in images]
    say(
        f"measured {parts.count('training')} photographs for training and {parts.count('heldout')} to test on, with "
        f"noise of "
        f"deviation {SIGMA_N}",
    )
