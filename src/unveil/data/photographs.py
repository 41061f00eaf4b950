"""Real colour photographs for the demo, from the files that come with scikit-image: nothing is downloaded.

Each is reduced 2x by averaging blocks of 2x2 pixels, which takes away most of the JPEG
artefacts and halves the (white) sensor noise of the originals, so that the rest can serve as the ground truth
of a simulation. Some noise does remain: results measured against it are good to that level, not beyond.

No scene is on both sides: `motorcycle_left` and `motorcycle_right` are two views of one scene and both for
training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["heldout_photographs", "training_photographs"]


def training_photographs() -> dict[str, Tensor]:
    """Six photographs, name -> x (3, H, W) float32 in [0, 1], sides from 213 to 500 pixels.

    The retina is cut to the square inside its disc: the black surround is no photograph.
    Raises UnveilError if this scikit-image does not carry one of them.
    """
    data = _skimage_data()
    return {
        "hubble": _load("hubble", data.hubble_deep_field),
        "motorcycle_left": _load("motorcycle_left", lambda: data.stereo_motorcycle()[0]),
        "motorcycle_right": _load("motorcycle_right", lambda: data.stereo_motorcycle()[1]),
        "retina": _load("retina", lambda: _centre(data.retina(), 960)),
        "rocket": _load("rocket", data.rocket),
        "tissue": _load("tissue", data.immunohistochemistry),
    }


def heldout_photographs() -> dict[str, Tensor]:
    """Three photographs never to be trained on, name -> x (3, H, W) float32 in [0, 1].

    Raises UnveilError if this scikit-image does not carry one of them.
    """
    data = _skimage_data()
    return {name: _load(name, getattr(data, name)) for name in ("astronaut", "chelsea", "coffee")}


def _skimage_data() -> Any:
    import skimage.data

    return skimage.data


def _load(name: str, read: Callable[[], np.ndarray]) -> Tensor:
    try:
        v = read()
    except Exception as error:  # another release may not carry the file and fail to download it
        raise UnveilError(
            f"the photograph {name} is not in the installed scikit-image ({type(error).__name__}): "
            "pip install --upgrade scikit-image"
        ) from error
    return _halve(torch.from_numpy(np.ascontiguousarray(v)).permute(2, 0, 1) / 255.0)


def _centre(v: np.ndarray, size: int) -> np.ndarray:
    """The central size x size pixels of v (H, W, 3)."""
    top, left = (v.shape[0] - size) // 2, (v.shape[1] - size) // 2
    return v[top : top + size, left : left + size]


def _halve(x: Tensor) -> Tensor:
    """Means over blocks of 2x2 pixels: (C, H, W) -> (C, H // 2, W // 2)."""
    return torch.nn.functional.avg_pool2d(x, 2)
