"""What was estimated of a run's instrument, from its own measurements: the run folder keeps it, and goes on with it.

estimated/KEY.npy   of each key of the operator's section that is "estimate", such as coils

Other measurements, of other bodies, tell it anew.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from unveil.config import Config
from unveil.data import atomic_write
from unveil.errors import UnveilError
from unveil.operators.base import Operator
from unveil.training.setup import instrument

__all__ = ["FOLDER", "digests", "estimated_keys", "keep_estimated", "with_estimated"]

FOLDER = "estimated"


def estimated_keys(config: Config) -> dict[str, str]:
    """Return the keys of the operator's section that are estimated -> the operator's tensor that holds each."""
    stated = config.operator.model_dump()
    return {key: name for key, name in instrument(config).estimated.items() if stated.get(key) == "estimate"}


def keep_estimated(folder: Path, config: Config, operator: Operator) -> None:
    """Write what was estimated of the operator of all measurements into the run folder."""
    for key, name in estimated_keys(config).items():
        (folder / FOLDER).mkdir(exist_ok=True)
        atomic_write(_file(folder, key), partial(_save, getattr(operator, name).cpu().numpy()))


def digests(folder: Path, config: Config) -> dict[str, str]:
    """Return the SHA-256 of each file that the run folder keeps."""
    return {key: _digest(folder, key) for key in estimated_keys(config)}


def with_estimated(config: Config, folder: Path, recorded: Mapping[str, str]) -> Config:
    """Return the configuration with the files of the run folder in place of "estimate".

    recorded: `digests` of when the run began. Raises UnveilError where a file is missing, or another one.
    """
    for key, known in recorded.items():
        if _digest(folder, key) != known:
            raise UnveilError(
                f"{_file(folder, key)}: is not what operator.{key} was when the run began; restore it, or "
                "start a new run"
            )
    files = {key: os.path.relpath(_file(folder, key)) for key in recorded}
    return config.model_copy(update={"operator": config.operator.model_copy(update=files)})


def _save(values: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:  # np.save would add to the name
        np.save(file, values)


def _digest(folder: Path, key: str) -> str:
    try:
        return hashlib.sha256(_file(folder, key).read_bytes()).hexdigest()
    except OSError as error:
        raise UnveilError(
            f"{_file(folder, key)}: cannot be read ({error.strerror}); restore it, or start a new run"
        ) from None


def _file(folder: Path, key: str) -> Path:
    return folder / FOLDER / f"{key}.npy"
