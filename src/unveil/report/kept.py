"""The pictures that `evaluate` keeps: RUN/images/NAME/measured.tif and the like, for the report and other viewers.

float32, whole, in the units of the measurements' files; with the pixel's size and one window of intensities, as ImageJ
and Fiji read them.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.data import atomic_write
from unveil.evaluation import Evaluation
from unveil.evaluation.components import component_names, posterior_images
from unveil.evaluation.evidence import INTERVAL
from unveil.evaluation.fields import FIGURES
from unveil.evaluation.replicas import noise_deviation
from unveil.instruments.instrument import ImageUnits
from unveil.report.look import deviation, window_of
from unveil.report.record import Shown

__all__ = ["DEVIATION", "MAPS", "MOVED", "RATIOS", "add_pictures", "keep_pictures", "picture_files", "pictures_of"]

DEVIATION, MOVED = "deviation", "noise"
MAPS = (DEVIATION, MOVED)
"""In the units of the others, from 0."""
RATIOS = tuple(one.name for figure in FIGURES for one in figure.maps)
"""Without units, from 0: what the fields' own figures draw."""
ASCII = {"µm": "micron", "Å": "angstrom", "µas": "microarcsecond"}
"""Units as ImageJ's files spell them."""


def pictures_of(result: Evaluation) -> dict[str, Tensor]:
    """Return the images of a result by name, each (C, H, W), on the scale of x."""
    found = {"measured": result.y, "estimate": result.x_hat}
    if result.reference is not None:
        found["reference"] = result.reference
    if result.risk is not None and (moved := noise_deviation(result.risk)) is not None:
        found[MOVED] = moved[None]
    for figure in FIGURES:
        if figure.name in result.figures:
            found |= figure.pictures(result.figures[figure.name])
    if result.samples is not None:
        found |= {f"sample_{k:03d}": x for k, x in enumerate(result.samples)}
        if len(result.samples) > 1:
            found[DEVIATION] = deviation(result.samples)[None]
        found |= posterior_images(result.samples)
    return found


def picture_files(name: str, samples: int) -> list[str]:
    """Return the names of all files, within images/, that may be kept of the image `name` with so many samples."""
    parts = ["measured", "estimate", "reference", *MAPS, *RATIOS, *(f"sample_{k:03d}" for k in range(samples))]
    parts += [*component_names(samples), *(INTERVAL if samples > 2 else ())]
    return [f"{name}/{part}.tif" for part in parts]


def keep_pictures(folder: Path, pictures: Mapping[str, Tensor], units: ImageUnits) -> Shown:
    """Write pictures, one of them the `estimate`, into `folder`; return how they are shown, for the record.

    Deviations have the units of the others, and not their zero; ratios have neither.
    """
    folder.mkdir(exist_ok=True)
    size = units.high - units.low
    low, high = (units.low + size * edge for edge in window_of(pictures["estimate"]))
    shown = Shown(window=(low, high), units=units.name, pixel=units.pixel, pixel_unit=units.pixel_unit)
    for name, x in pictures.items():
        values = x if name in RATIOS else size * x if name in MAPS else units.low + size * x
        limits = (0.0, float(values.max())) if name in MAPS + RATIOS else shown.window
        atomic_write(folder / f"{name}.tif", partial(_write, x=values, window=limits, units=units))
    return shown


def add_pictures(folder: Path, pictures: Mapping[str, Tensor], units: ImageUnits, shown: Shown) -> None:
    """Write further pictures, shown as those in `folder` are."""
    for name, x in pictures.items():
        values = units.low + (units.high - units.low) * x
        atomic_write(folder / f"{name}.tif", partial(_write, x=values, window=shown.window, units=units))


def _write(path: Path, x: Tensor, window: tuple[float, float], units: ImageUnits) -> None:
    import tifffile

    values = np.ascontiguousarray(x.detach().cpu().to(torch.float32).numpy())
    said: dict[str, object] = {"axes": "CYX", "min": window[0], "max": window[1]}
    resolution = None
    if units.pixel is not None:
        said["unit"] = ASCII.get(units.pixel_unit, units.pixel_unit)
        resolution = (1 / units.pixel, 1 / units.pixel)
    tifffile.imwrite(path, values, imagej=True, resolution=resolution, metadata=said)
