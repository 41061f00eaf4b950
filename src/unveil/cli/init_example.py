"""unveil init SYSTEM: simulated measurements, and a configuration for them that runs as it stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unveil.cli.outputs import check_free
from unveil.cli.screen import figures, say
from unveil.cli.suit import with_batch
from unveil.config import Config, parse_config
from unveil.config_file import override, to_yaml
from unveil.data import atomic_write
from unveil.errors import UnveilError
from unveil.idle import refuse_idle
from unveil.instruments.example import HELDOUT, Example
from unveil.instruments.instrument import load
from unveil.instruments.registry import INSTRUMENTS
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.training.defaults import settings
from unveil.training.setup import open_measurements

__all__ = ["init_example"]

EXAMPLE_TRAINING = {"steps": 500, "warmup": 50, "ema": 0.99}
EXAMPLE_PIXELS = 16 * 32**2
"""Of the images of a batch: enough to see it learn, in some minutes on two cores."""


def init_example(kind: str, out: Path, sets: Sequence[str], force: bool) -> None:
    """Write simulated measurements into a folder beside `out`, and the configuration for them."""
    folder = out.parent / f"example-{kind}"
    check_free(out, force)
    check_free(folder, force)
    example = load(str(INSTRUMENTS[kind].example))(folder)
    values = {
        "data": {"path": str(folder / "measurements.npy")},
        "operator": {"kind": kind, **example.section},
        "noise": {"sigma": example.sigma},
        **settings(kind),
        "training": dict(EXAMPLE_TRAINING),
    }
    simulated = parse_config(values, kind)
    config = refuse_idle(parse_config(override(values, sets), "--set"), "--set")
    if measured(config) != measured(simulated):
        raise UnveilError(
            "--set: without DATA the measurements are simulated, and system, noise and data are the simulation's; give "
            "DATA, or leave these keys out"
        )
    config = with_batch(values, example.operator, EXAMPLE_PIXELS, "--set")
    write_example(folder, example)
    open_measurements(config)
    text = heading(kind, folder, out, example) + to_yaml(config, out.parent)
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    heldout = f"{folder / 'heldout.npy'} --reference {folder / 'heldout_reference.npy'}"
    say(f"simulated {example.about}: {folder}")
    say(f"wrote {out}; next: unveil train {out}")
    say(f"and then: unveil evaluate runs/{out.stem} {heldout}")
    noise = {"kind": "gaussian", "sigma": example.sigma}
    figures({"config": str(out), "system": kind, "measurements": len(example.images) - HELDOUT, "noise": noise})


def measured(config: Config) -> tuple[Any, ...]:
    """Return what the configuration says of the measurements, not of what to do with them."""
    return config.operator, config.noise, config.data.model_copy(update={"validation": 0.1})


def write_example(folder: Path, example: Example) -> None:
    """Write the measurements and the clean images of an example, and the system's files.

    They are measurements.npy, heldout.npy, their clean images reference.npy and heldout_reference.npy.
    """
    x = example.images
    A = example.operator
    y = A.project(Gaussian(example.sigma).sample(A.A(x), make_generator("cpu", 0)))
    arrays: dict[str, Tensor] = {
        "measurements.npy": y[:-HELDOUT],
        "reference.npy": x[:-HELDOUT],
        "heldout.npy": y[-HELDOUT:],
        "heldout_reference.npy": x[-HELDOUT:],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**{name: array.numpy() for name, array in arrays.items()}, **example.files}.items():
        write(folder / name, content)


def write(path: Path, content: np.ndarray | str) -> None:
    if isinstance(content, str):
        atomic_write(path, lambda partial: partial.write_text(content, encoding="utf-8"))
    else:
        atomic_write(path, lambda partial: np.save(partial, content))


def heading(kind: str, folder: Path, out: Path, example: Example) -> str:
    """Return comments for the top of the configuration."""
    return f"""\
# SIMULATED DATA, so that this file runs as it stands: {example.about}.
# Training reads measurements.npy alone; reference.npy, the clean images, is there to look at.
#   unveil train {out}
#   unveil evaluate runs/{out.stem} {folder / "heldout.npy"} --reference {folder / "heldout_reference.npy"}
# For your own measurements change data.path, noise.sigma and the keys of operator, and give training.steps more (2000
# or so); or write a new file:
#   unveil init {kind} DATA --set noise.sigma=...{own_keys(kind)}

"""


def own_keys(kind: str) -> str:
    """Return the --set options of the keys that have no default, or that say most about the system."""
    keys = INSTRUMENTS[kind].keys
    return "".join(f" --set operator.{key}=..." for key in keys)
