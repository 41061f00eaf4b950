"""The inflation of a run's sampler, fitted once to held-out measurements and kept beside the run."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import nn

from unveil.data import atomic_write
from unveil.dataset import Dataset
from unveil.diffusion import SCHEDULES, fit_inflation
from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise.base import together
from unveil.records import read_record, sealed

__all__ = ["fit_to_images", "read_inflation", "write_inflation"]

FILE = "sampler.json"
MOST_IMAGES = 16
PIXELS = 150_000
"""Together in the windows: Stein's estimate then deviates by 0.4% of sigma_n^2, a few percent of the error."""
WHOLE = 2**14
"""Pixels of incomplete measurements together, which cost more to sample: at 128x128 one."""


def fit_to_images(
    f: nn.Module,
    data: Dataset,
    steps: int,
    seed: int,
    device: torch.device | str,
    *,
    record: Path,
    schedule: str,
    lowest: float = 0.05,
) -> float:
    """Return `fit_inflation` on up to 16 measurements, kept in record/sampler.json and read from there.

    Of images that have windows their centres, of others whole ones. lowest: the sampler's last level as a multiple of
    the measured one. 0 when the error cannot be estimated from so few pixels.
    """
    if (record / FILE).is_file():
        return read_inflation(record)
    try:
        inflation = fit_inflation(
            f.to(device).eval(),
            _some(data).to(device),
            seed=seed,
            steps=steps,
            schedule=SCHEDULES[schedule],
            lowest=lowest,
            batch=4,
        )
    except UnveilError:  # too few pixels to estimate the error: the exact sampler needs no fit
        inflation = 0.0
    write_inflation(record, inflation, steps=steps, schedule=schedule, lowest=lowest)
    return inflation


def _some(data: Dataset) -> Measurement:
    """Return windows of PIXELS pixels together, fewer if the images are small.

    Or whole measurements of WHOLE pixels, one at least.
    """
    count = min(MOST_IMAGES, len(data))
    side = min([math.isqrt(PIXELS // count), *(min(data.source.shape(i)[1:]) for i in range(count))])
    centres = []
    for i in range(count):
        _, height, width = data.source.shape(i)
        centre = data.window(i, ((height - side) // 2, (width - side) // 2, side, side))
        if centre is None:
            return data.batch(torch.arange(min(count, max(1, WHOLE // math.prod(data.source.shape(0)[1:])))))
        centres.append(centre)
    y = torch.cat([centre.y for centre in centres])
    noise = (
        together([centre.noise for centre in centres]) if data.noise.mapped else data.noise.select(torch.arange(count))
    )
    return replace(centres[0], y=y, noise=noise)


def write_inflation(folder: Path, inflation: float, **how: Any) -> None:
    """Record the inflation in folder/sampler.json, and of which sampler it is."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(sealed({"inflation": inflation, **how})) + "\n"
    atomic_write(folder / FILE, lambda path: path.write_text(text))


def read_inflation(folder: Path) -> float:
    """Return the inflation recorded in folder/sampler.json; 0, the exact solver, when there is none.

    Raises UnveilError if damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return 0.0
    return read_record(path, _Sampler, "delete it for the exact solver, or train again").inflation


class _Sampler(BaseModel):
    inflation: float = Field(ge=0, allow_inf_nan=False)
