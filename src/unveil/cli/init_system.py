"""unveil init KIND: a configuration for measurements by an imaging system, the user's or simulated ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.checks.instrument import instrument_contradictions
from unveil.cli.outputs import check_free, keep_inputs, source_files
from unveil.cli.screen import say
from unveil.config import Config, parse_config
from unveil.config_file import override, to_yaml
from unveil.data import ImageSource, atomic_write
from unveil.errors import UnveilError, warn
from unveil.idle import refuse_idle
from unveil.instruments.example import HELDOUT, Example
from unveil.instruments.instrument import USUAL, Scale, load
from unveil.instruments.registry import INSTRUMENTS
from unveil.noise import Gaussian
from unveil.noises import GaussianNoise
from unveil.operators.base import Operator
from unveil.random import make_generator
from unveil.runs.create import find_noise, noise_level
from unveil.training.setup import open_measurements, open_operator

__all__ = ["KINDS", "init_measurements", "run_init_system"]

KINDS = tuple(kind for kind, found in INSTRUMENTS.items() if found.example is not None)
"""The instruments that init knows by name."""

PIXELS_A_STEP = 32**3
"""training.batch times the pixels of an image."""
EXAMPLE_TRAINING = {"steps": 500, "warmup": 50, "ema": 0.99}
EXAMPLE_PIXELS = 16 * 32**2
"""Enough to see it learn, in some minutes on two cores."""


def run_init_system(kind: str, data: str | None, out: Path, sets: Sequence[str], force: bool) -> None:
    """kind: of the imaging system. data: its measurements; None simulates some, in a folder beside `out`."""
    if kind not in KINDS:
        raise UnveilError(f"{kind} is not an imaging system: choose one of {', '.join(KINDS)}, and then give DATA")
    if data is not None:
        init_measurements(kind, data, out, sets, force)
    else:
        init_example(kind, out, sets, force)


def init_measurements(kind: str, data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    """Write the configuration for measurements by the system, whose values are never rescaled."""
    check_free(out, force)
    values = override({"data": {"path": data}, "operator": {"kind": kind}, **settings(kind)}, sets)
    system, instrument = values["operator"], INSTRUMENTS[kind]
    if instrument.complete is not None and isinstance(system, dict):
        for key, (value, line) in load(instrument.complete)(system, data).items():
            system[key] = value
            say(line)
    config = parse_config(values, "--set")
    if config.operator.kind != kind:
        raise UnveilError(
            f"--set operator.kind={config.operator.kind}: init was asked for {kind}; leave one of the two out"
        )
    refuse_idle(config, "--set")
    source, operator = open_measurements(config)
    keep_inputs(source_files(source, config), [out])
    found = find_scale(config, source)
    if found is not None and found.key not in values["operator"]:
        values = override(values, [f"operator.{found.key}={found.value:.2g}"])
        config = parse_config(values, "--set")
        operator, found = open_operator(config, source), find_scale(config, source)
    config = with_batch(values, operator, PIXELS_A_STEP, data)
    text = to_yaml(config, out.parent)
    if found is not None:
        meaning = type(config.operator).model_fields[found.key].description or ""
        text = text.replace(f"  # {meaning}", f"  # {found.comment} {meaning}")
    noise = find_noise(config, source, operator)
    if isinstance(config.noise, GaussianNoise) and isinstance(config.noise.sigma, str):
        text = text.replace(
            "  sigma: estimate  #",
            f"  sigma: estimate  # found {noise_level(noise):.4g} in the measurements or the system;",
        )
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    say(
        f"{len(source)} measurements by {kind}, of shape {source.shape(0)}; images of shape {operator.image_shape}",
    )
    for line in instrument_contradictions(kind, source, operator, noise_level(noise)):
        warn(line)
    if (unusual := scale_line(config, source, operator, found)) is not None:
        warn(unusual)
    say(f"wrote {out}; next: unveil check {out}, unveil train {out}")


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
            "DATA, or "
            "leave these keys out"
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


def measured(config: Config) -> tuple[Any, ...]:
    """What the configuration says of the measurements, not of what to do with them."""
    return config.operator, config.noise, config.data.model_copy(update={"validation": 0.1})


def settings(kind: str) -> dict[str, Any]:
    """A copy of the instrument's settings, for `override` to change."""
    return {section: dict(keys) for section, keys in INSTRUMENTS[kind].settings.items()}


def with_batch(values: dict[str, Any], operator: Operator, pixels: int, where: str) -> Config:
    """The configuration, its batch of about `pixels` pixels unless `values` state it."""
    if "batch" not in values.get("training", {}):
        *_, height, width = operator.image_shape or (1, 1)
        override(values, [f"training.batch={max(1, pixels // (height * width))}"])
    return parse_config(values, where)


def find_scale(config: Config, source: ImageSource) -> Scale | None:
    """What measurements tell of a key of the section that scales the images; None of other instruments, or where they
    do not."""
    find = INSTRUMENTS[config.operator.kind].scale
    if find is None or config.data.value_range is not None:
        return None
    scale: Scale | None = load(find)(config.operator, first_measurements(source)[1])
    return scale


def scale_line(config: Config, source: ImageSource, operator: Operator, scale: Scale | None) -> str | None:
    """What to do where the images' values are far from those that training supposes; None where they are not, or not
    known."""
    if config.data.value_range is not None:
        return None
    if INSTRUMENTS[config.operator.kind].scale is not None:
        return None if scale is None else scale.unusual
    which, y = first_measurements(source)
    found = float(operator.select(which).rough_image(y).std())
    low, high = USUAL
    if found == 0 or low <= found <= high:
        return None
    return (
        f"the images' values seem to deviate by {found:.2g} from their mean, and training supposes about 0.25; "
        f"--set data.value_range=[0,{4 * found:.2g}] divides the measurements by {4 * found:.2g}, and noise.sigma is "
        f"then "
        "that of the quotients"
    )


def first_measurements(source: ImageSource) -> tuple[Tensor, Tensor]:
    """Numbers (B,) and values (B, C, H, W) of some measurements."""
    which = torch.arange(min(4, len(source)))
    return which, torch.stack([source.read(int(i)) for i in which])


def write_example(folder: Path, example: Example) -> None:
    """measurements.npy, heldout.npy, their clean images reference.npy and heldout_reference.npy, and the system's
    files."""
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
    """Comments for the top of the configuration."""
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
    """The --set options of the keys that have no default, or that say most about the system."""
    keys = INSTRUMENTS[kind].keys
    return "".join(f" --set operator.{key}=..." for key in keys)
