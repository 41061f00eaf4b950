"""Checkpoints: safetensors and JSON in one folder per step, which appears whole or not at all.

The folder is written under a temporary name and then renamed, so a full disk or a killed process leaves the one
before it intact. No pickle: opening a stranger's checkpoint runs no code.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from unveil.errors import UnveilError

__all__ = ["latest_checkpoint", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]

KEPT = 2


def save_checkpoint(
    folder: Path, step: int, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write folder/step-<step> holding each module's state, the optimizer's and the JSON `state`; keep the newest two.

    Raises UnveilError when it cannot be written (a full disk, no permission).
    """
    target = folder / f"step-{step:08d}"
    partial = folder / f".{target.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, module in modules.items():
            save_weights(partial / f"{name}.safetensors", module.state_dict())
        save_weights(partial / "optimizer.safetensors", _flatten(optimizer))
        (partial / "state.json").write_text(json.dumps({"step": step, **state}, indent=1))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UnveilError(
            f"{target}: cannot write the checkpoint ({error.strerror or error}); free space or permissions, then "
            "resume: the checkpoint before it is intact"
        ) from None
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    checkpoint: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore every module and the optimizer in place, and return the JSON state with its `step`.

    Raises UnveilError when a part is missing, damaged, or of another network.
    """
    for name, module in modules.items():
        load_weights(checkpoint / f"{name}.safetensors", module)
    try:
        _unflatten(optimizer, load_file(checkpoint / "optimizer.safetensors"))
        state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text())
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise UnveilError(
            f"{checkpoint}: damaged checkpoint ({error}); delete it to resume from the one before"
        ) from None
    return state


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`, or None."""
    return max(folder.glob("step-*"), default=None)


def save_weights(path: Path, state: dict[str, Tensor]) -> None:
    """The tensors of `state` as safetensors, whatever their memory format. Raises OSError when it cannot be written."""
    path.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in state.items()}))


def load_weights(path: Path, module: nn.Module) -> None:
    """Load `path` into `module` in place. Raises UnveilError when it is missing, damaged, or of another network."""
    if not path.is_file():
        raise UnveilError(f"{path}: no such file; is this a run folder whose training has started?")
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:  # damage; torch's for mismatched keys and shapes
        reason = str(error).splitlines()[0]
        raise UnveilError(f"{path}: damaged, or of another network ({reason}); restore it or train again") from None


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, state in states.items() for key, value in state.items()}


def _unflatten(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
