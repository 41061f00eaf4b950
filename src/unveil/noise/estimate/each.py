"""Noise whose gain is each image's own: found image by image, with what all have in common.

One detector counts photons, z = g k + o + r n, and each image was stretched by itself, y = a z + b, as by programs that
save the full range in 8 bit. Its noise has the gain a g, the read noise a r and the offset a o + b: the gain and the
zero of its photon-transfer line (`unveil.noise.estimate.own_line`) are its own, and in photons all have in common

    the read noise r / g,       and about      d = (darkest flat brightness - zero) / gain,

which is r^2 / g^2 where a background shows. r^2 / g^2 is what the skewness of the noise tells, over all images
(`unveil.noise.estimate.third`), where that is known to KNOWN; else the median d of those that show a background, else
one photon, or what darker images leave. The variance is the same for any of these.

An image whose brightness differs too little to tell the gain is given that with which its variance V at brightness c is
right and d is that of the others, V = gain (c - darkest) + d gain^2.

Whether images have gains of their own, `unveil.noise.estimate.laws` tells.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from unveil.errors import UnveilError, warn
from unveil.noise.base import Noise
from unveil.noise.estimate.background import ELECTRONS, LEAST_READ
from unveil.noise.estimate.laws import Law, own_law
from unveil.noise.estimate.own_line import OwnLine, own_line
from unveil.noise.estimate.step import photon_step
from unveil.noise.estimate.third import read_square
from unveil.noise.poisson import Poisson
from unveil.noise.poisson_gaussian import PoissonGaussian

__all__ = ["Gains", "OwnNoise", "own_noise"]

MOST = 0.5
"""The share of images that must tell their gains for the others to follow them."""
CLOSE = 0.2
"""In what share of a step the gain of its image agrees with it."""
KNOWN = 0.3
"""The error of a squared read noise, as a share of it or, below one photon, in photons, up to which it is known."""
DARK = 0.1
"""The quantile of d that is taken for the darkest."""


@dataclass(frozen=True)
class OwnNoise:
    """Noise of one family, with parameters that each image tells.

    kind: of the family. electrons: the read noise, and dark: d, in photons, common to all; of counts that are not read
    out they are 0.
    Raises UnveilError for another family, and for values that are not finite and >= 0.
    """

    kind: str
    electrons: float = 0.0
    dark: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("poisson", "poisson-gaussian"):
            raise UnveilError(f"{self.kind[:40]} noise is not found image by image: poisson or poisson-gaussian is")
        if not (0 <= self.electrons < math.inf and 0 <= self.dark < math.inf):
            raise UnveilError(f"read noise of {self.electrons:g} photons, {self.dark:g} in the dark: give finite ones")

    def __str__(self) -> str:
        return f"the gain of each image its own{self.common}"

    mapped: ClassVar[bool] = False

    @property
    def uneven(self) -> bool:
        """Return whether the deviation differs between entries, as that of counts does."""
        return True

    @property
    def common(self) -> str:
        """What all images have in common, in words."""
        return f", read noise {self.electrons:.2g} photons" if self.kind == "poisson-gaussian" else ""

    @property
    def family(self) -> type[Noise]:
        return Poisson if self.kind == "poisson" else PoissonGaussian

    def find(self, images: Iterable[Tensor], names: Sequence[str]) -> Noise:
        """Return the noise of `images` (C, H, W), read once, in their units; parameters (N,).

        Warns of images that do not tell their gains. Raises UnveilError for one whose noise cannot be measured.
        """
        if self.kind == "poisson":
            return Poisson(torch.tensor([_step(image, name) for image, name in zip(images, names)]))
        lines = [_line(image, name) for image, name in zip(images, names)]
        unknown = [name for line, name in zip(lines, names) if not line.known]
        if unknown:
            warn(
                f"{unknown[0]}{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}: too even, or too full of "
                "structure, to tell the gain of the noise: it is that with which the dark parts are as those of the "
                "images in training"
            )
        lines = [line if line.known else self._supposed(line) for line in lines]
        gain = torch.tensor([line.gain for line in lines])
        offset = torch.tensor([line.zero for line in lines]) + gain * self.electrons**2
        return PoissonGaussian(gain, self.electrons * gain, offset)

    def of(self, y: Tensor) -> Noise:
        """Return the noise of the images y (B, C, H, W), each whole, as `find` does."""
        return self.find(y.detach().cpu(), [f"y[{b}]" for b in range(len(y))]).to(y.device)

    def _supposed(self, line: OwnLine) -> OwnLine:
        width = max(line.centre - line.darkest, 0.0)
        return line._replace(gain=2 * line.level / (width + math.sqrt(width**2 + 4 * self.dark * line.level)))


class Gains(NamedTuple):
    """Hold the range of the images' gains, in their units, and the median of their errors, as a share of them."""

    low: float
    high: float
    error: float

    def scaled(self, a: float) -> "Gains":
        """Return those of a y."""
        return self._replace(low=a * self.low, high=a * self.high)

    def __str__(self) -> str:
        return f"gain {self.low:.2g} to {self.high:.2g}, known to {self.error:.0%}"


def own_noise(images: Sequence[Tensor], law: Law) -> tuple[OwnNoise, Gains] | None:
    """Return what images (C, H, W), each of a gain of its own, have in common; None where `law` serves all.

    law: how variance depends on the mean where all images have one noise. Raises UnveilError where gains are each
    image's own and too few images tell theirs.
    """
    found = [own_line(image) for image in images]
    lines = [line for line in found if line is not None]
    if not own_law([line.curve for line in lines], law).own:
        return None
    known = [line for line in lines if line.known]
    if len(known) < max(2, MOST * len(images)):
        raise UnveilError(
            f"the images' gains differ, and {len(known)} of {len(images)} tell theirs: give larger images, or raw data "
            "of one gain"
        )
    gain = torch.tensor([line.gain for line in known])
    error = torch.tensor([line.gain_error for line in known]) / gain
    gains = Gains(float(gain.min()), float(gain.max()), float(error.median()))
    steps = [photon_step([image]) for image in images]
    if all(step is not None and abs(line.gain - step) < CLOSE * step for step, line in zip(steps, lines)):
        return OwnNoise("poisson"), gains
    dark = torch.tensor([line.dark_photons for line in known], dtype=torch.double)
    empty = dark[torch.tensor([line.background for line in known]) & (dark < ELECTRONS**2)]
    square = _skewed([(image, line) for image, line in zip(images, found) if line is not None and line.known])
    if square is None:
        square = float(empty.median()) if len(empty) else min(1.0, float(dark.quantile(DARK)))
    square = max(square, LEAST_READ**2)
    return OwnNoise("poisson-gaussian", math.sqrt(square), max(float(dark.median()), square)), gains


def _skewed(images: Sequence[tuple[Tensor, OwnLine]]) -> float | None:
    """Return the square of the read noise in photons, as the skewness of the noise tells it; None where it does not."""
    several = [told for image, line in images if (told := read_square(image, line)) is not None]
    if not several:
        return None
    value, error = torch.tensor(several, dtype=torch.double).T
    w = 1 / error.square()
    square = float((w * value).sum() / w.sum())
    return square if float(w.sum()) ** -0.5 < KNOWN * max(1.0, square) else None


def _line(image: Tensor, name: str) -> OwnLine:
    line = own_line(image)
    if line is None:
        raise UnveilError(
            f"{name}: the noise of this image cannot be found, as of one that is small, empty or saturated, and each "
            "image's is its own: leave it out"
        )
    return line


def _step(image: Tensor, name: str) -> float:
    step = photon_step([image])
    if step is None:
        raise UnveilError(f"{name}: holds no whole photons, as the images in training do: convert all in one way")
    return step
