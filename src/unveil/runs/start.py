"""A run that starts from the weights of another one, at half the rate: a network that knows such images is fine-tuned.

    theta_0 = theta of the other run      in place of weights drawn from the seed

The measurements may be few, one even, and the instrument another, so long as the network is shown as many images
(RAM is fine-tuned so on one measurement, Terris et al. 2025, https://arxiv.org/abs/2503.08915). The scale of A and the
spectrum of the images are those of the new measurements.

start.safetensors   the other run's weights, in the run folder
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel
from torch import nn

from unveil.config import Config
from unveil.data import atomic_write
from unveil.errors import UnveilError
from unveil.training.checkpoint import read_weights

__all__ = ["FILE", "Start", "at_half_rate", "keep_start", "load_start", "open_start"]

FILE = "start.safetensors"
OWN = ("scale", "prior.spectrum")
"""Of the state of an estimator, what is of the measurements and no weight."""


class Start(BaseModel):
    """What run.json says of it: the other run's folder, and the SHA-256 of its weights."""

    run: str
    sha256: str


def open_start(folder: Path) -> tuple[Start, bytes]:
    """Return what is recorded of the trained run in `folder`, and its weights.

    Raises UnveilError where it is no run, or not trained to the end.
    """
    if not (folder / "run.json").is_file():
        raise UnveilError(f"--from {folder}: not a run folder (no run.json); give the folder that unveil train wrote")
    try:
        weights = (folder / "model.safetensors").read_bytes()
    except OSError:
        raise UnveilError(f"--from {folder}: not trained to the end; finish with unveil train {folder}") from None
    return Start(run=str(folder), sha256=hashlib.sha256(weights).hexdigest()), weights


def keep_start(folder: Path, weights: bytes) -> None:
    """Write the weights into the run folder."""
    atomic_write(folder / FILE, lambda path: path.write_bytes(weights))


def load_start(file: Path, estimator: nn.Module, said: str) -> None:
    """Load the weights in `file` into the estimator, in place, but for what is of the measurements.

    said: of where they are from, for the message. Raises UnveilError where the networks differ.
    """
    own, there = estimator.state_dict(), read_weights(file, "give a run that is intact")
    state = {**{key: value for key, value in there.items() if key not in OWN}, **{k: own[k] for k in OWN if k in own}}
    if odd := sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]:
        shapes = [tuple(one[odd[0]].shape) if odd[0] in one else "not there" for one in (there, own)]
        raise UnveilError(
            f"{said}: its network differs from this configuration's ({odd[0]} is {shapes[0]} there and {shapes[1]} "
            "here): state its estimator settings and loss.camera, or train from the start"
        )
    estimator.load_state_dict(state)


def at_half_rate(config: Config) -> Config:
    """Return the configuration of a training that starts from trained weights."""
    training = config.training
    half = training.model_copy(update={"learning_rate": training.learning_rate / 2})
    return config.model_copy(update={"training": half})
