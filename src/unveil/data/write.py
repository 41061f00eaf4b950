"""One image to one file: PNG to look at, TIFF and NPY to compute with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.data.atomic import atomic_write
from unveil.data.values import check_value_range
from unveil.errors import UnveilError

__all__ = ["save_image"]


def save_image(path: str | os.PathLike[str], x: Tensor, value_range: Sequence[float] = (0.0, 1.0)) -> None:
    """Write x (C, H, W), real, to `path`; the extension decides how, and nobody ever sees half a file.

    .png: 8 bits, grey for C = 1 and RGB for C = 3; value_range = (low, high) are the values shown black and
        white, and what lies outside is clipped.
    .tif, .tiff: float32, the values as they are; `open_images` reads them back exactly, with their channels.
    .npy: float32 (C, H, W), the values as they are; for C > 1 open it with axes="CHW".
    Raises UnveilError for another shape, extension or number of channels, for NaN or infinite values in a
    PNG, and if the file cannot be written.
    """
    path = Path(path)
    low, high = check_value_range(value_range) or (0.0, 1.0)
    if x.ndim != 3 or x.numel() == 0 or x.is_complex():
        raise UnveilError(f"{path}: the image is {x.dtype} of shape {tuple(x.shape)}; pass real values (C, H, W)")
    values = x.detach().to("cpu", torch.float32).numpy()
    extension = path.suffix.lower()
    if extension == ".png":
        pixels = _eight_bits(path, values, low, high)
        atomic_write(path, lambda temporary: _png(temporary, pixels))
    elif extension in (".tif", ".tiff"):
        atomic_write(path, lambda temporary: _tiff(temporary, values))
    elif extension == ".npy":
        atomic_write(path, lambda temporary: np.save(temporary, np.ascontiguousarray(values)))
    else:
        raise UnveilError(f"{path} has an extension that cannot be written: use .png, .tif, .tiff or .npy")


def _eight_bits(path: Path, values: np.ndarray, low: float, high: float) -> np.ndarray:
    if len(values) not in (1, 3):
        raise UnveilError(
            f"{path}: a PNG has 1 or 3 channels and the image has {len(values)}: save as .tif, or one channel at a time"
        )
    if not np.isfinite(values).all():
        raise UnveilError(f"{path}: the image contains NaN or infinite values; mask or replace them")
    shown = np.round(((values - low) / (high - low)).clip(0.0, 1.0) * 255.0).astype(np.uint8)
    return np.ascontiguousarray(shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0))


def _png(path: Path, pixels: np.ndarray) -> None:
    import imageio.v3 as iio

    path.write_bytes(iio.imwrite("<bytes>", pixels, plugin="pillow", extension=".png"))  # which meets no full disk


def _tiff(path: Path, values: np.ndarray) -> None:
    import tifffile

    if len(values) == 3:
        pixels, axes, photometric = values.transpose(1, 2, 0), "YXS", "rgb"
    else:
        pixels, axes, photometric = (
            (values[0], "YX", "minisblack") if len(values) == 1 else (values, "CYX", "minisblack")
        )
    tifffile.imwrite(path, np.ascontiguousarray(pixels), photometric=photometric, metadata={"axes": axes})
