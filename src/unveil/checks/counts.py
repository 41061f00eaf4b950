"""Are these counted photons times a gain? What images contradict of Poisson noise of a given gain.

Counts are whole and not negative, and their variance is the gain times their mean: the photon-transfer curve of
`unveil.checks.brightness` has its slope.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unveil.checks.brightness import noise_growth

__all__ = ["count_lines"]

BETWEEN = 0.05
"""Distance from a whole number of photons, above which a value lies between two."""
SHARE = 0.01
"""Of the values, which may do so: hot pixels, dead ones."""
APART = 1.5
"""The ratio of the noise's level to that of the gain, or its inverse, from which they contradict."""


def count_lines(images: Sequence[Tensor], step: Tensor) -> list[str]:
    """Return a line for each thing in which images (C, H, W) are not counts times a gain; none where they are.

    step: what one photon adds, on the images' scale, of all or of each.
    """
    gains = step.flatten().double().expand(len(images))
    values = torch.cat(
        [image.flatten()[:: max(1, image.numel() // 100_000)].double() / gain for image, gain in zip(images, gains)]
    )
    lines = []
    negative = float((values < -BETWEEN).double().mean())
    if negative > SHARE:
        lines.append(
            f"{negative:.0%} of the values are negative, which counted photons are not: subtract no more than the "
            "camera's offset, or state noise.kind=gaussian"
        )
    between = float(((values - values.round()).abs() > BETWEEN).double().mean())
    if between > SHARE and not lines:
        lines.append(
            f"{between:.0%} of the values are no whole number of photons of noise.gain: check it, and that no offset "
            "and no read noise are in the data; they are rounded at random, which adds noise"
        )
    growth = noise_growth(images) if step.numel() == 1 else None
    if growth is not None:
        expected = (float(gains[0]) * max(growth.bright, 0.0)) ** 0.5
        if not 1 / APART < growth.level_bright / max(expected, 1e-12) < APART:
            lines.append(
                f"the noise has level {growth.level_bright:.2g} at brightness {growth.bright:.2g} on the data's [0, 1] "
                f"scale, and photons of this noise.gain would have {expected:.2g}: check the gain; samples and "
                "estimated errors do not hold"
            )
    return lines
