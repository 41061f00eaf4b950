"""What images contradict of what is said of them.

It is said that each is a signal in white Gaussian noise of one level, on one scale.

Each check is a file beside this one. A line says what was found, and what to do.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unveil.checks.amplitudes import amplitude_line
from unveil.checks.brightness import noise_growth
from unveil.checks.counts import count_lines
from unveil.checks.gains import gain_line
from unveil.checks.outliers import outliers
from unveil.checks.quiet import local_mean
from unveil.checks.uneven import CHANNELS_APART, IMAGES_APART, channel_levels, differ, image_levels
from unveil.data import ImageSource
from unveil.errors import UnveilError
from unveil.noise import Noise, estimate_common_sigma
from unveil.noise.estimate.blocks import SIDE
from unveil.noise.estimate.channels import SAME, dependent_channels
from unveil.noise.estimate.transfer import blocks_of
from unveil.noise.estimate.whiteness import noise_tilt
from unveil.random import make_generator

__all__ = ["common_level", "constant_images", "contradictions", "copied_channels", "mixed_types", "other_level"]

LEVELS_APART = 2.0
"""The ratio of a stated level to the one found from which they contradict; that much may be texture."""
FEWEST_OUTLIERS = 5e-5
"""Share of the values: glints in photographs are fewer."""
SMALLEST_STEP = 0.65
"""The ratio of a level to the step between neighbouring values below which it is that of rounding."""


def contradictions(images: Mapping[str, Tensor], noise: Noise | None = None) -> list[str]:
    """Return a line for each thing in which `images` (C, H, W), by name, are not what is supposed; none if all is well.

    noise: as stated, on their scale, of all or of each; None: white and Gaussian, of a level that is not known.
    """
    uneven = [float(image.min()) < float(image.max()) for image in images.values()]
    images = {name: image for (name, image), keep in zip(images.items(), uneven) if keep}
    if not images:
        return []
    noise = None if noise is None else noise.select(torch.tensor(uneven).nonzero()[:, 0])
    several = list(images.values())
    if noise is not None and not noise.white:
        apart = [noise.unmixed(image[None])[0] for image in several]
        return [line for line in (copied_channels(apart), own_outlier_line(several, noise)) if line is not None]
    if noise is not None and noise.mapped:  # levels and hot pixels are in the maps
        return [line for line in (copied_channels(several), tilt_line(several)) if line is not None]
    if noise is not None and not noise.additive:
        lines = [copied_channels(several), own_outlier_line(several, noise), tilt_line(several)]
        if noise.step is not None:
            lines += count_lines(several, noise.step)
        lines += [gain_line(images, noise), amplitude_line(several, noise)]
        return [line for line in lines if line is not None]
    found = common_level(several)
    lines = [copied_channels(several), *noise_lines(images), outlier_line(several), tilt_line(several)]
    if found is not None:
        lines += [
            step_line(several, found),
            None if noise is None else other_level(found, lowest_level(several, noise)),
        ]
    return [line for line in lines if line is not None]


def constant_images(images: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the images that hold one value alone."""
    return [name for name, image in images.items() if float(image.min()) == float(image.max())]


def mixed_types(source: ImageSource) -> str | None:
    """Return a line where numbers of several types lie in one folder, else None.

    Each type has a scale of its own.
    """
    first: dict[str, str] = {}
    for i in range(len(source)):
        first.setdefault(source.dtype(i), source.name(i))
    if len(first) < 2:
        return None
    kinds = " and ".join(f"{dtype} ({name})" for dtype, name in list(first.items())[:3])
    return f"the images hold numbers of different types, {kinds}: one scale does not fit both; convert them to one type"


def copied_channels(images: list[Tensor]) -> str | None:
    """Return a line on two channels whose noise is the same, or correlates, else None."""
    pair = dependent_channels(images)
    if pair is None:
        return None
    a, b = pair.channels
    if pair.copies:
        return (
            f"channels {a} and {b} are copies of one another, as in a grey image saved as RGB: their noise is not "
            "independent; convert the images to grey"
        )
    if abs(pair.correlation) > SAME:
        return (
            f"the noise of channels {a} and {b} is nearly the same (correlation {pair.correlation:.2f}), as after "
            "demosaicing, colour correction or JPEG: its level is not found, and estimated errors are too small; use "
            "raw images if there are any"
        )
    return (
        f"the noise of channels {a} and {b} correlates by {pair.correlation:.2f} (+- {pair.error:.2f}), which the "
        "noise model does not have: estimated errors do not hold; noise.kind=auto finds the covariance of the "
        "channels of Gaussian noise, and noise.covariance states it, or a noise scan"
    )


def noise_lines(images: Mapping[str, Tensor]) -> list[str]:
    """Return lines on how the noise differs between dark and bright; or else between images, and between channels."""
    several = list(images.values())
    growth = noise_growth(several)
    if growth is not None:
        return [
            f"the noise grows with brightness, from a level of {growth.level_dark:.2g} at {growth.dark:.2g} to "
            f"{growth.level_bright:.2g} at {growth.bright:.2g} on the data's [0, 1] scale, as that of counted photons "
            "does: white Gaussian noise of one level is the wrong model, and estimated errors do not hold; "
            "noise.kind=auto finds gain, offset and read noise"
        ]
    lines = []
    levels = image_levels(images)
    pixels = min(image[0].numel() for image in several)
    if differ(list(levels.values()), IMAGES_APART, pixels):
        low, high = min(levels, key=levels.__getitem__), max(levels, key=levels.__getitem__)
        lines.append(
            f"the images' noise levels differ: {levels[low]:.2g} in {low} and {levels[high]:.2g} in {high}, on the "
            "data's [0, 1] scale; one noise.sigma does not hold for both: keep images of one level in a folder, with a "
            "run for each"
        )
    by_channel = channel_levels(several)
    if differ(by_channel, CHANNELS_APART, pixels * len(several)):
        each = ", ".join(f"{level:.2g}" for level in by_channel)
        lines.append(
            f"the channels' noise levels differ ({each}, on the data's [0, 1] scale): one noise.sigma does not hold "
            "for all; save the "
            "channels in folders of their own, with a run for each, or divide each by its level"
        )
    return lines


def other_level(found: float, sigma: float, then: str = "check it, and the scale it was stated on") -> str | None:
    """Return a line where the level sigma that is stated is not the one found, else None.

    then: what to do in that case.
    """
    if 1 / LEVELS_APART < found / sigma < LEVELS_APART:
        return None
    return (
        f"the noise level found in the images is {found:.2g}, and {sigma:.2g} is what is stated or trained on, on the "
        f"data's [0, 1] scale: {then}"
    )


def outlier_line(images: list[Tensor]) -> str | None:
    masks = [outliers(image) for image in images]
    count, total = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    if count < FEWEST_OUTLIERS * total:
        return None
    farthest = max((float(v) for image, mask in zip(images, masks) for v in image[mask]), key=abs)
    return (
        f"{count} of {total} values are outliers (hot pixels, cosmic rays), up to {farthest:.2g} on the data's [0, 1] "
        "scale: replace them by the median of their neighbours"
    )


def own_outlier_line(images: list[Tensor], noise: Noise) -> str | None:
    """Return the line on outliers; None where the noise itself, as speckle of one look, has such values."""
    line, generator = outlier_line(images), make_generator("cpu", 0)
    ones = [noise.to("cpu").select(torch.tensor([i])) for i in range(len(images))]
    big = [(image.cpu(), one) for image, one in zip(images, ones) if min(image.shape[1:]) >= SIDE]
    if line is None or outlier_line([one.sample(local_mean(y)[None], generator)[0] for y, one in big]) is not None:
        return None
    return line


def tilt_line(images: list[Tensor]) -> str | None:
    tilt = noise_tilt(blocks_of(images))
    if tilt is None or tilt.white:
        return None
    times = f"{math.exp(abs(tilt.value)):.2g} times {'stronger' if tilt.value > 0 else 'weaker'}"
    return (
        f"the noise is not white: {times} at middle frequencies than at the highest, as after a detector's blur, "
        "resampling, demosaicing or compression; its level and estimated errors do not hold: use raw data, or state "
        "noise.kind=correlated with noise.kernel=estimate"
    )


def step_line(images: list[Tensor], found: float) -> str | None:
    """Return a line where values are so coarse that what looks like noise, of the level found, is their rounding."""
    values = torch.cat([image.flatten() for image in images]).unique()
    step = float(values.diff().median())
    if found > SMALLEST_STEP * step:
        return None
    return (
        f"the values are {len(values)} steps of {step:.2g}, and the noise found, of level {found:.2g} on the data's "
        "[0, 1] scale, is no more than their rounding: use images from before the conversion to so few levels"
    )


def common_level(images: list[Tensor]) -> float | None:
    """Return the level of white Gaussian noise in all images, where one can be found."""
    try:
        found = estimate_common_sigma(images)
    except UnveilError:
        return None
    return found if found > 0 else None


def lowest_level(images: list[Tensor], noise: Noise) -> float:
    """Return the lowest level of the images (C, H, W), which `common_level` leans to; `noise` of all or of each."""
    each = [noise.select(torch.tensor([i])).level(image[None], mean_of) for i, image in enumerate(images)]
    return float(torch.cat(each).min())


def mean_of(y: Tensor) -> Tensor:
    return y.flatten(1).mean(1)
