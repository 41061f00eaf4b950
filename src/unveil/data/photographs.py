"""Real colour photographs for the demo, from the files that come with scikit-image: nothing is downloaded.

Photographs with visible grain of their own are reduced 2x by means over 2x2 pixels, so that an estimator trained on
them does not learn the grain as signal; the others are left as they are. All carry some noise of the camera and of
JPEG, small against the demo's: results measured against them are good to that level, not beyond.

No scene is on both sides: `motorcycle_left` and `motorcycle_right` are two views of one scene and both for training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["heldout_photographs", "skimage_image", "training_photographs"]

SIDE = 256
"""Height and width of the held-out photographs, pixels: small enough to draw many samples of in a demo."""


def training_photographs() -> dict[str, Tensor]:
    """Return five photographs, name -> x (3, H, W) float32 in [0, 1], sides from 256 to 741 pixels.

    The retina is cut to the square inside its disc: the black surround is no photograph.
    Raises UnveilError if this scikit-image does not carry one of them.
    """
    left, right, _ = skimage_image("stereo_motorcycle")
    return {
        "motorcycle_left": _unit(left),
        "motorcycle_right": _unit(right),
        "retina": _halve(_window(_load("retina"), 225, 225, 960)),
        "rocket": _load("rocket"),
        "tissue": _halve(_load("immunohistochemistry")),
    }


def heldout_photographs() -> dict[str, Tensor]:
    """Return three photographs never to be trained on, name -> x (3, 256, 256) float32 in [0, 1].

    Each is a part of the whole.

    Raises UnveilError if this scikit-image does not carry one of them.
    """
    return {
        "astronaut": _window(_load("astronaut"), 0, 96, SIDE),
        "chelsea": _window(_load("chelsea"), 22, 90, SIDE),
        "coffee": _window(_load("coffee"), 60, 150, SIDE),
    }


def skimage_image(name: str) -> Any:
    """Return the image `name` that comes with scikit-image, as that gives it.

    Raises UnveilError if the installed release does not carry it.
    """
    import skimage.data

    try:
        return getattr(skimage.data, name)()
    except Exception as error:  # another release may not carry the file and fail to download it
        raise UnveilError(
            f"the photograph {name} is not in the installed scikit-image ({type(error).__name__}): "
            "pip install --upgrade scikit-image"
        ) from error


def _load(name: str) -> Tensor:
    return _unit(skimage_image(name))


def _unit(v: np.ndarray) -> Tensor:
    """Return the photograph v (H, W, 3), of bytes, as x (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(v)).permute(2, 0, 1).contiguous() / 255.0


def _window(x: Tensor, top: int, left: int, side: int) -> Tensor:
    """Return the square of `side` pixels at (top, left) of x (C, H, W)."""
    return x[:, top : top + side, left : left + side].contiguous()


def _halve(x: Tensor) -> Tensor:
    """Take means over blocks of 2x2 pixels: (C, H, W) -> (C, H // 2, W // 2)."""
    return torch.nn.functional.avg_pool2d(x, 2)
