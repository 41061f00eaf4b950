"""Is one noise level common to all images, and to all channels? Each is estimated by itself.

Texture is taken for noise where an image has nothing else: at a level of .02 the estimates of photographs in [0, 1]
spread by a factor of 1.6, at .05 by 1.2. Those of the channels of one photograph agree within 6%.
"""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise import estimate_common_sigma, estimate_sigma

__all__ = ["CHANNELS_APART", "IMAGES_APART", "channel_levels", "differ", "image_levels"]

IMAGES_APART = 1.8
CHANNELS_APART = 1.4
"""The ratio of the highest to the lowest level from which they differ."""


def image_levels(images: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the level of each of `images` (C, H, W) by its name, without those in which none can be found."""
    levels = {}
    for name, image in images.items():
        try:
            levels[name] = float(estimate_sigma(image[None])[0])
        except UnveilError:  # too small, saturated
            continue
    return {name: level for name, level in levels.items() if level > 0}


def channel_levels(images: Sequence[Tensor]) -> list[float]:
    """Return the level of each channel over all of `images` (C, H, W); empty where none is found, or of one channel."""
    if len(images[0]) < 2:
        return []
    try:
        levels = [estimate_common_sigma(image[c, None] for image in images) for c in range(len(images[0]))]
    except UnveilError:
        return []
    return levels if min(levels) > 0 else []


def differ(levels: Sequence[float], apart: float, pixels: int) -> bool:
    """Return whether `levels` spread by more than the factor `apart`, and than chance does on that many pixels each."""
    if len(levels) < 2:
        return False
    chance = 6 / math.sqrt(pixels)  # twice the largest standard error of a level found in pure noise
    return math.log(max(levels) / min(levels)) > math.log(apart) + chance
