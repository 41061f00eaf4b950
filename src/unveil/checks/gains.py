"""Is the noise of all images of one gain? Their photon-transfer curves must lie as far from the stated one.

Images that were stretched one by one, each to the full range, have a gain and an offset each.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unveil.checks.uneven import IMAGES_APART, differ
from unveil.noise import Noise
from unveil.noise.estimate import transfer_curve

__all__ = ["gain_line"]


def gain_line(images: Mapping[str, Tensor], noise: Noise) -> str | None:
    """Return a line where the noise of `images` (C, H, W) is not the stated one times a common factor, else None.

    noise: on their scale, of all or of each; its variance depends on the signal.
    """
    one = [noise.select(torch.tensor([i])) for i in range(len(images))]
    by_image = {name: _ratio(image, own) for (name, image), own in zip(images.items(), one)}
    known = {name: ratio for name, ratio in by_image.items() if ratio is not None and ratio > 0}
    pixels = min(image[0].numel() for image in images.values())
    if not differ(list(known.values()), IMAGES_APART, pixels):
        return None
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (
        f"the images' noise is not of one gain: in {low} it is {known[low]:.2g} times as strong as is stated for its "
        f"brightness, in {high} {known[high]:.2g} times, as where each image was stretched by itself: use the numbers "
        "that the instrument gave, or keep images of one gain in a folder, with a run for each"
    )


def _ratio(image: Tensor, noise: Noise) -> float | None:
    """Return the measured level over the stated one; None where nothing is measured, or no noise is stated."""
    curve = transfer_curve([image])
    if not len(curve.mean):
        return None
    weight = 1 / curve.error.clamp_min(1e-6 * float(curve.variance.abs().max()) + 1e-300).square()
    stated = float((weight * noise.variance(curve.mean[None])[0].clamp_min(0)).sum())
    return float(torch.clamp((weight * curve.variance).sum() / stated, min=0).sqrt()) if stated > 0 else None
