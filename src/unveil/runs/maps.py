"""The maps of a run's noise: the run folder keeps them, so that it is all that it takes to repeat and to use the run.

maps/NAME.tif   of the parameter NAME, float32, in the numbers of the files; config.yaml names these
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unveil.config import Config
from unveil.data import open_images, save_image
from unveil.errors import UnveilError
from unveil.noise import Noise
from unveil.noises import AnyNoise
from unveil.training.detector import on_scale

__all__ = ["FOLDER", "digest", "keep_maps", "kept_noise", "same_maps", "with_kept_maps"]

FOLDER = "maps"


def keep_maps(folder: Path, maps: Mapping[str, Tensor]) -> None:
    """Write maps (1, C, H, W), in the numbers of the files, into the run folder."""
    for name, values in maps.items():
        (folder / FOLDER).mkdir(exist_ok=True)
        save_image(_file(folder, name), values[0])


def with_kept_maps(config: Config, folder: Path) -> Config:
    """Return the configuration, its maps those in the run folder, which may be moved with them."""
    paths = {name: os.path.relpath(_file(folder, name)) for name in config.noise.maps}
    return config.model_copy(update={"noise": config.noise.model_copy(update=paths)})


def kept_noise(folder: Path, stated: AnyNoise, stored: tuple[float, float]) -> Noise:
    """Return the noise on the [0, 1] scale of the data, with the maps in the run folder.

    stored: the numbers in the files that are read as 0 and 1. Raises UnveilError where a map is missing or damaged.
    """
    return on_scale(stated, {name: _read(folder, name)[None] for name in stated.maps}, stored)


def same_maps(folder: Path, stated: AnyNoise) -> bool:
    """Return whether the maps that are stated are those in the run folder."""
    for name, path in stated.maps.items():
        kept = _read(folder, name)
        try:
            now = open_images(path, value_range=(0, 1)).read(0)
        except UnveilError as error:
            raise UnveilError(f"noise.{name}: {error}") from None
        if now.shape[1:] != kept.shape[1:] or not bool((now == kept).all()):
            return False
    return True


def digest(values: Tensor) -> str:
    """Return the SHA-256 of a map, as float32."""
    return hashlib.sha256(values.detach().cpu().to(torch.float32).contiguous().numpy().data).hexdigest()


def _file(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.tif"


def _read(folder: Path, name: str) -> Tensor:
    path = _file(folder, name)
    try:
        return open_images(path, value_range=(0, 1)).read(0)
    except UnveilError as error:
        raise UnveilError(f"{error}; restore it, or train again in a new folder") from None
