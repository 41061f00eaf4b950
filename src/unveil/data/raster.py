"""PNG and JPEG: no window can be decoded alone, so whole images are, and the most recent ones are kept.

Images are turned as a viewer shows them (EXIF orientation, of which phones make much use). A fully opaque alpha
channel is dropped. What would lose precision or meaning without a word is refused: 16-bit colour PNG (the decoder would
cut it to 8 bits), transparency, CMYK.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unveil.data.axes import check_axes
from unveil.data.limits import check_size
from unveil.data.orientation import ORIENTATION, seen_axes, seen_pixels
from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["scan"]

_ALPHA = {"LA": "L", "PA": "P", "RGBA": "RGB"}


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """Return the image of the file `path`, from its header alone; axes: HW or HWC unless given."""
    from PIL import Image

    with _any_size(), Image.open(path) as image:
        mode, transparent = image.mode, "transparency" in image.info
        orientation = _orientation(path, image)
        form = (
            image.palette.mode
            if image.palette and mode == "P"
            else "I;16"
            if mode == "I" and image.format == "PNG"
            else mode
        )
        pixel = np.asarray(Image.new(form, (1, 1)))
        shape = (image.height, image.width, *pixel.shape[2:])
    with open(path, "rb") as stream:
        header = stream.read(26)
    if header.startswith(b"\x89PNG") and header[24] == 16 and header[25] != 0:
        raise UnveilError(
            f"{path} is a 16-bit PNG with colour or alpha, which would be cut to 8 bits: save it as TIFF or NPY"
        )
    if mode == "CMYK" or transparent:
        raise UnveilError(
            f"{path} has {'CMYK colours' if mode == 'CMYK' else 'transparent colours'}: save it as grey or RGB"
        )
    check_size(str(path), math.prod(shape) * pixel.dtype.itemsize, path.stat().st_size)
    alpha = mode in _ALPHA
    if alpha:
        shape = shape[:2] if shape[2] == 2 else (*shape[:2], shape[2] - 1)
    axes = check_axes(axes or ("HW" if len(shape) == 2 else "HWC"), shape, str(path))
    load = partial(_decode, path, alpha, axes, orientation)
    return [StoredArray(path, "", shape, pixel.dtype, seen_axes(axes, orientation), load)]


def _decode(path: Path, alpha: bool, axes: str, orientation: Any) -> np.ndarray:
    import imageio.v3 as iio

    with _any_size():
        v = iio.imread(path, index=0, plugin="pillow")
    if alpha:
        if (v[..., -1] != np.iinfo(v.dtype).max).any():
            raise UnveilError(f"{path} is partly transparent: save it without an alpha channel")
        v = np.ascontiguousarray(v[..., 0] if v.shape[-1] == 2 else v[..., :-1])
    return seen_pixels(v, axes, orientation)


def _orientation(path: Path, image: Any) -> Any:
    """Return tag 274 of the file's EXIF; 1, upright, where there is none or none that can be read."""
    from PIL import Image

    try:
        if image.format != "PNG":
            return image.getexif().get(ORIENTATION, 1)
        exif = Image.Exif()  # an open PNG would decode its pixels to look for EXIF behind them
        exif.load(_chunk(path, b"eXIf"))
        return exif.get(ORIENTATION, 1)
    except Exception:  # pixels are good whatever is wrong with a camera's notes
        return 1


def _chunk(path: Path, kind: bytes) -> bytes:
    """Return the content of the first chunk `kind` of a PNG, empty if there is none; the others are passed over."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[:4], "big")
            if header[4:] == kind:
                return file.read(size)
            file.seek(size + 4, os.SEEK_CUR)
    return b""


@contextmanager
def _any_size() -> Iterator[None]:
    """Enter a block without Pillow's own limit on the size of images.

    `check_size` holds them against ours, which a user can raise.
    """
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
