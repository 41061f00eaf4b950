"""Checkpoints: safetensors and JSON in one folder per step, which appears whole or not at all.

The folder is written under a temporary name, synced to the disk and then renamed, so a full disk, a killed process or a
power cut leaves the one before it intact. Hashes tell whether it still is what was written. No pickle: opening a
stranger's checkpoint runs no code.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unveil.data.atomic import sync
from unveil.errors import UnveilError, warn
from unveil.records import read_json, read_record, sealed

__all__ = [
    "intact_checkpoint", "latest_checkpoint", "load_checkpoint", "load_weights", "read_weights", "save_checkpoint",
    "save_weights",
]  # fmt: skip

KEPT = 2
NAME = re.compile(r"step-(\d{8,})")
STATE = "state.json"
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What AdamW keeps of each parameter."""


class State(BaseModel):
    """state.json: the step and the seed, and the sha256 of each file beside it."""

    step: int
    files: dict[str, str]
    seed: int | None = None


def save_checkpoint(
    folder: Path, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write folder/step-<step> holding each module's state, the optimizer's and the JSON `state`; keep the newest two.

    Raises UnveilError when it cannot be written (a full disk, no permission).
    """
    target = folder / f"step-{step:08d}"
    partial = _partial(target)
    before = latest_checkpoint(folder)
    tensors = {name: module.state_dict() for name, module in modules.items()} | {"optimizer": _flatten(optimizer)}
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, values in tensors.items():
            save_weights(partial / f"{name}.safetensors", values)
        files = {path.name: _hash(path) for path in sorted(partial.iterdir())}
        (partial / STATE).write_text(json.dumps(sealed({"step": step, **state, "files": files}), indent=1))
        for path in (*partial.iterdir(), partial):
            sync(path)
        _remove(target)
        os.replace(partial, target)
        sync(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        kept = "resume: the checkpoint before it is intact" if before else "start again: it is the first"
        raise UnveilError(
            f"{target}: cannot write the checkpoint ({error.strerror or error}); free space or permissions, then {kept}"
        ) from None
    _keep_newest(folder)


def load_checkpoint(
    checkpoint: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore every module and the optimizer in place, and return the JSON state with its `step`.

    Raises UnveilError when a part is missing, damaged, or of another network.
    """
    for name, module in modules.items():
        load_weights(checkpoint / f"{name}.safetensors", module)
    _unflatten(optimizer, checkpoint / "optimizer.safetensors")
    state = read_json(checkpoint / STATE)
    return {key: value for key, value in state.items() if key not in ("files", "sha256")}


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in `folder`, or None."""
    return max(_checkpoints(folder), key=_step, default=None)


def intact_checkpoint(folder: Path, seed: int | None = None) -> Path | None:
    """Return the newest checkpoint in `folder` that is what was written, of a run of this `seed`; None without any.

    Damaged ones that are newer are set aside, under another name, with a warning.
    Raises UnveilError when there are some and each is damaged.
    """
    damaged: list[tuple[Path, UnveilError]] = []
    for candidate in reversed(_checkpoints(folder)):
        try:
            _check(candidate, seed)
        except UnveilError as error:
            damaged.append((candidate, error))
            continue
        for path, reason in damaged:
            aside = path.with_name(f"damaged-{path.name}")
            _remove(aside)
            os.replace(path, aside)
            warn(f"{reason}: set aside as {aside.name}, the run goes on from {candidate.name}")
        _keep_newest(folder)
        return candidate
    if damaged:
        raise UnveilError(
            f"{damaged[0][1]}, and there is no other that is intact; restore it, or start a new run in another folder"
        )
    return None


def save_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Save the tensors of `state` as safetensors with their hash, whatever their memory format.

    Raises OSError when it cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    path.write_bytes(save(tensors, metadata={"sha256": _digest(tensors)}))


def load_weights(path: Path, module: nn.Module, mend: str = "restore it or train again") -> None:
    """Load `path` into `module` in place.

    mend: what to do when it is damaged, for the error's last words.
    Raises UnveilError when it is missing, damaged, or of another network.
    """
    if not path.is_file():
        raise UnveilError(f"{path}: no such file; is this a run folder whose training has started?")
    tensors = read_weights(path, mend)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:  # mismatched keys and shapes
        reason = str(error).splitlines()[0]
        raise UnveilError(f"{path}: damaged, or of another network ({reason}); {mend}") from None


def read_weights(path: Path, mend: str) -> dict[str, Tensor]:
    """Return the tensors in `path`, which are those that were written.

    Raises UnveilError, which ends with `mend`, when they are not.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            hashed = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UnveilError(f"{path}: damaged, or of another network ({reason}); {mend}") from None
    if hashed != _digest(tensors):
        raise UnveilError(f"{path}: damaged (its sha256 is not that of what was written); {mend}")
    return tensors


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check(checkpoint: Path, seed: int | None) -> None:
    """Raise UnveilError, without a last word, when `checkpoint` is not what was written, or not of this run."""
    state = read_record(checkpoint / STATE, State, mend="")
    if state.step != _step(checkpoint):
        raise UnveilError(f"{checkpoint}: damaged (its state is of step {state.step})")
    if None not in (seed, state.seed) and state.seed != seed:
        raise UnveilError(f"{checkpoint}: of another run (its seed is {state.seed}, and this run's {seed})")
    for name, expected in state.files.items():
        try:
            found = _hash(checkpoint / Path(name).name)
        except OSError as error:
            raise UnveilError(f"{checkpoint / name}: damaged ({error.strerror})") from None
        if found != expected:
            raise UnveilError(f"{checkpoint / name}: damaged (its sha256 is not that of what was written)")


def _checkpoints(folder: Path) -> list[Path]:
    """Return all checkpoints in `folder`, oldest first."""
    return sorted((path for path in folder.glob("step-*") if NAME.fullmatch(path.name)), key=_step)


def _keep_newest(folder: Path) -> None:
    for old in _checkpoints(folder)[:-KEPT]:
        _remove(old)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _partial(checkpoint: Path) -> Path:
    return checkpoint.with_name(f".{checkpoint.name}.partial")


def _remove(checkpoint: Path) -> None:
    """Remove it, if it is there, under a name that is no checkpoint's.

    What a kill leaves of it is not taken for one.
    """
    doomed = checkpoint.with_name(f".{checkpoint.name}.old.partial")
    shutil.rmtree(doomed, ignore_errors=True)
    if checkpoint.exists():
        os.replace(checkpoint, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, state in states.items() for key, value in state.items()}


def _unflatten(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Restore the optimizer's state from `path`."""
    mend = "restore it, or start a new run in another folder"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in read_weights(path, mend).items():
        index, _, key = name.partition(".")
        number = int(index) if index.isdigit() else len(parameters)
        if number >= len(parameters) or (value.ndim and value.shape != parameters[number].shape):
            raise UnveilError(f"{path}: of another network ({name} of shape {tuple(value.shape)}); {mend}")
        states.setdefault(number, {})[key] = value
    with_entries = (i for i, p in enumerate(parameters) if p.numel())  # the others have no gradient
    if states and (
        any(i not in states for i in with_entries) or any(state.keys() != MOMENTS for state in states.values())
    ):
        raise UnveilError(f"{path}: of another network, or another optimizer; {mend}")
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
