"""Real cells for the demo, from a stained section that comes with scikit-image: nothing is downloaded.

A slide of immunohistochemistry is unmixed into its stains (A. Ruifrok and D. Johnston 2001, by
`skimage.color.rgb2hed`): the concentration of each is an image, bright on a dark ground, as a fluorescent label would
give. Cells of one corner are held out; the three other corners are for training.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unveil.data.photographs import skimage_image

__all__ = ["heldout_cells", "training_cells"]

STAINS = {"nuclei": 0, "membranes": 2}
"""Haematoxylin and diaminobenzidine, by their channel."""
CORNERS = {"north_west": (0, 0), "north_east": (0, 256), "south_west": (256, 0), "south_east": (256, 256)}
HELD_OUT = "south_east"
SIDE = 256


def training_cells() -> dict[str, Tensor]:
    """Return six images, name -> x (1, 256, 256) float32 in [0, 1], 0 where there is no stain.

    Raises UnveilError if this scikit-image does not carry the slide.
    """
    return {name: x for name, x in _cells().items() if HELD_OUT not in name}


def heldout_cells() -> dict[str, Tensor]:
    """Return two images never to be trained on, name -> x (1, 256, 256) float32 in [0, 1].

    Raises UnveilError if this scikit-image does not carry the slide.
    """
    return {name: x for name, x in _cells().items() if HELD_OUT in name}


def _cells() -> dict[str, Tensor]:
    from skimage.color import rgb2hed

    found = {}
    stains = rgb2hed(skimage_image("immunohistochemistry"))
    for stain, channel in STAINS.items():
        low, high = np.quantile(stains[..., channel], [0.02, 0.998])
        x = torch.from_numpy(np.clip((stains[..., channel] - low) / (high - low), 0, 1)).float()
        for corner, (top, left) in CORNERS.items():
            found[f"{stain}_{corner}"] = x[None, top : top + SIDE, left : left + SIDE].contiguous()
    return found
