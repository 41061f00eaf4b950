"""The gain of a run's sampler, fitted once to held-out measurements and kept beside the run."""

import json
import math
from pathlib import Path

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from unveil.data import ImageSource, atomic_write
from unveil.diffusion import SCHEDULES, fit_gain
from unveil.errors import UnveilError
from unveil.problem import DENOISING, Problem, Several
from unveil.records import read_record, sealed

__all__ = ["fit_to_images", "read_gain"]

FILE = "sampler.json"
MOST_IMAGES = 16
PIXELS = 150_000
"""Together in the windows: Stein's estimate then deviates by 0.4% of sigma_n^2, a few percent of the error."""
WHOLE = 2**14
"""Pixels of incomplete measurements together, which cost more to sample: at 128x128 one."""


def fit_to_images(
    f: nn.Module,
    images: ImageSource,
    sigma_n: float,
    steps: int,
    seed: int,
    device: torch.device | str,
    *,
    record: Path,
    schedule: str = "geometric",
    lowest: float = 0.05,
    problem: Problem | Several = DENOISING,
) -> float:
    """`fit_gain` on up to 16 images, of large ones on their centres; the result is kept in record/sampler.json and read from there.

    images: measurements by `problem`, in its order. With an operator they are taken whole.
    lowest: the sampler's last level as a multiple of sigma_n. 0 when the error cannot be estimated from so few pixels.
    """
    if (record / FILE).is_file():
        return read_gain(record)
    count = min(MOST_IMAGES, len(images))
    if problem is not DENOISING:
        count = min(count, max(1, WHOLE // math.prod(images.shape(0)[1:])))
    y = _centres(images, count) if problem is DENOISING else torch.stack([images.read(i) for i in range(count)])
    try:
        gain = fit_gain(
            f.to(device).eval(),
            y.to(device),
            sigma_n,
            seed=seed,
            steps=steps,
            schedule=SCHEDULES[schedule],
            sigma_min=lowest * sigma_n,
            batch=4,
            problem=problem.subset(range(count)),
        )
    except UnveilError:  # too few pixels to estimate the error: the exact solver needs no fit
        gain = 0.0
    record.mkdir(parents=True, exist_ok=True)
    values = {"gain": gain, "steps": steps, "schedule": schedule, "lowest": lowest}
    atomic_write(record / FILE, lambda path: path.write_text(json.dumps(sealed(values)) + "\n"))
    return gain


def _centres(images: ImageSource, count: int) -> Tensor:
    """Windows (count, C, side, side) of PIXELS pixels together, fewer if the images are small."""
    side = min([math.isqrt(PIXELS // count), *(min(images.shape(i)[1:]) for i in range(count))])
    centres = []
    for i in range(count):
        _, height, width = images.shape(i)
        centres.append(images.read(i, ((height - side) // 2, (width - side) // 2, side, side)))
    return torch.stack(centres)


def read_gain(folder: Path) -> float:
    """The gain recorded in folder/sampler.json; 0, the exact solver, when there is none. Raises UnveilError if damaged."""
    path = folder / FILE
    if not path.is_file():
        return 0.0
    return read_record(path, _Sampler, "delete it for the exact solver, or train again").gain


class _Sampler(BaseModel):
    gain: float = Field(ge=0, allow_inf_nan=False)
