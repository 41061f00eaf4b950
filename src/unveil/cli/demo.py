"""The demo: the main job, on photographs that scikit-image ships.

The measurements are made once, as an instrument would; the clean photographs go to a folder that training never
opens. Then come the same train, evaluate and report as for anybody's folder.
"""

from collections.abc import Sequence
from pathlib import Path

from unveil.cli.device import torch_device
from unveil.cli.evaluate import evaluate_and_report
from unveil.cli.screen import say
from unveil.cli.train import train_with_bar
from unveil.cli.use import with_sets
from unveil.config import override, parse_config, to_yaml
from unveil.data import heldout_photographs, open_images, save_image, training_photographs
from unveil.errors import UnveilError
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.training import create_run

__all__ = ["run_demo"]

SIGMA_N = 0.1
STEPS = 1000


def run_demo(out: Path, sets: Sequence[str], seed: int, device: str, dry_run: bool) -> None:
    if out.exists() and not (out / "measurements").is_dir() and any(out.iterdir()):
        raise UnveilError(f"{out}: holds other files; choose another folder with --out")
    torch_device(device)
    defaults = {
        "seed": seed,
        "data": {"path": str(out / "measurements" / "training")},
        "noise": {"sigma": SIGMA_N},
        "training": {"steps": STEPS},
    }
    config = parse_config(override(defaults, sets), "--set")
    if dry_run:
        say(to_yaml(config))
        say(f"would measure photographs with noise of deviation {SIGMA_N}, train on those and write {out}")
        return
    measure(out, seed)
    run = create_run(out / "run", config)
    f = train_with_bar(run, device)
    source, clean = open_images(out / "measurements" / "heldout"), open_images(out / "reference")
    evaluate_and_report(run, f, source, SIGMA_N, clean, len(source), with_sets(run, []), seed, device)


def measure(out: Path, seed: int) -> None:
    """Write the noisy photographs, and the clean held-out ones beside them for the closing table."""
    photographs = {"training": training_photographs(), "heldout": heldout_photographs()}
    noise, key = Gaussian(SIGMA_N), 0
    for part, images in photographs.items():
        folder = out / "measurements" / part
        folder.mkdir(parents=True, exist_ok=True)
        for name, x in images.items():
            save_image(folder / f"{name}.tif", noise.sample(x[None], make_generator("cpu", seed, key))[0])
            key += 1
    (out / "reference").mkdir(exist_ok=True)
    for name, x in photographs["heldout"].items():
        save_image(out / "reference" / f"{name}.tif", x)
    say(
        f"measured {len(photographs['training'])} photographs for training and {len(photographs['heldout'])} to test on, "
        f"with noise of deviation {SIGMA_N}",
    )
