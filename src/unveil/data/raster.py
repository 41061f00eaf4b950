"""PNG and JPEG: no window can be decoded alone, so whole images are, and the most recent ones are kept.

Pixels are taken in the order of the file (EXIF orientation is ignored: noise lives on the sensor's grid). A
fully opaque alpha channel is dropped. What would lose precision or meaning without a word is refused: 16-bit
colour PNG (the decoder would cut it to 8 bits), transparency, CMYK.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unveil.data.stored import StoredArray
from unveil.errors import UnveilError

__all__ = ["scan"]

_ALPHA = {"LA": "L", "PA": "P", "RGBA": "RGB"}


def scan(path: Path, axes: str | None) -> list[StoredArray]:
    """The image of the file `path`, from its header alone; axes: HW or HWC unless given."""
    import imageio.v3 as iio

    with iio.imopen(path, "r", plugin="pillow") as file:
        properties, metadata = file.properties(index=0), file.metadata(index=0)
    mode = metadata["mode"]
    with open(path, "rb") as stream:
        header = stream.read(26)
    if header.startswith(b"\x89PNG") and header[24] == 16 and header[25] != 0:
        raise UnveilError(
            f"{path} is a 16-bit PNG with colour or alpha, which would be cut to 8 bits: save it as TIFF or NPY"
        )
    if mode == "CMYK" or "transparency" in metadata:
        raise UnveilError(
            f"{path} has {'CMYK colours' if mode == 'CMYK' else 'transparent colours'}: save it as grey or RGB"
        )
    shape = properties.shape
    if mode in _ALPHA:
        shape = shape[:2] if shape[2] == 2 else (*shape[:2], shape[2] - 1)
    default = "HW" if len(shape) == 2 else "HWC"
    return [StoredArray(path, "", shape, properties.dtype, axes or default, partial(_decode, path, mode in _ALPHA))]


def _decode(path: Path, alpha: bool) -> np.ndarray:
    import imageio.v3 as iio

    v = iio.imread(path, index=0, plugin="pillow")
    if not alpha:
        return v
    if (v[..., -1] != np.iinfo(v.dtype).max).any():
        raise UnveilError(f"{path} is partly transparent: save it without an alpha channel")
    return np.ascontiguousarray(v[..., 0] if v.shape[-1] == 2 else v[..., :-1])
