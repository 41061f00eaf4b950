"""Which noise do images have? Gaussian of one level, counted photons, or these read out with an offset and noise.

The variance of the noise is measured against brightness (`unveil.noise.estimate.transfer`):

- all values are whole multiples of a step, and the variance is that times the mean: Poisson, whose gain is the step;
- it does not grow, or less than twofold: Gaussian, of the level that `estimate_common_sigma` finds;
- it grows as the square of the mean, which fits TIMES better than a line: speckle, Gamma noise;
- it grows: Poisson-Gaussian, offset and read noise divided as `unveil.noise.estimate.background` says.

Where it is not white, or rows or columns share some of it (`unveil.noise.estimate.spectrum`), it is correlated if its
variance does not grow, as looked at once more in coefficients made white (`unveil.noise.estimate.growth`); and where
channels share it, white as that of each is (`unveil.noise.estimate.channels`). None of them fits what does more than
one of these, or is that of copies: the nearest one is returned, with what is in doubt. Whether it fits
in all else, `unveil.checks.fit` tells. Where the images' gains differ, as of images that were stretched one by one,
they are found image by image: `unveil.noise.estimate.each`.

Thresholds were chosen on the first 200 photographs of BSD400 (180 x 180 pixels); benchmarks/estimate_check.py reports
on the others, and on tissue and cells. The family is right in 607 of 608 sets of four or sixteen photographs; of single
ones in 75 of 80 in Gaussian noise of level .02 to .2, in 70 of 80 of counts (2 to 1000 at white), 53 of 80 of speckle
(1 to 16 looks) and 116 of 140 of a camera's: one image may hold too few brightnesses. The gain errs by 2 to 7% in the
median of four images and by 1 to 3% of sixteen, that of counts not at all, and is within two stated errors in all (80
to 100% of a row beside a dark half); levels err by .3 to .9% of four and looks by 1 to 4%; offset and read noise are
known as said in `unveil.noise.estimate.background`. Of speckle, and of counts and cameras whose gains are each
image's own, 40 of 40 sets of four are right each.

Texture without flat parts (grass, gravel) is taken for noise where photons are many: their gain is found 2.2 times too
large at 300 of them, and 4 times at 1000, three of the stated errors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.base import Noise
from unveil.noise.correlated import Correlated
from unveil.noise.estimate.background import divide
from unveil.noise.estimate.blocks import SIDE
from unveil.noise.estimate.channels import ChannelPair, channel_correlation, dependent_channels
from unveil.noise.estimate.each import Gains, OwnNoise, own_noise
from unveil.noise.estimate.even import even_noise, shows_one_brightness
from unveil.noise.estimate.growth import coloured_curve
from unveil.noise.estimate.laws import LAWS
from unveil.noise.estimate.level import estimate_common_sigma
from unveil.noise.estimate.line import TransferCurve, TransferLine, coherent_error, fit_line, fit_speckle, fit_straight
from unveil.noise.estimate.spectrum import NoiseFound, find_spectrum
from unveil.noise.estimate.step import photon_step
from unveil.noise.estimate.transfer import Blocks, blocks_of, curve_of
from unveil.noise.estimate.whiteness import noise_tilt
from unveil.noise.gamma import Gamma
from unveil.noise.gaussian import Gaussian
from unveil.noise.poisson import Poisson
from unveil.noise.poisson_gaussian import PoissonGaussian

__all__ = ["WORDS", "Found", "choose_noise"]

STRIPED = 0.08
"""Share of the variance that rows or columns have in common, from which they are said to."""
CORRELATED_ERROR = 0.06
"""Of the level of correlated noise, besides chance: structure is near to it."""
LEVEL_ERROR, UNSEEN = 0.015, 0.05
"""What a level errs by at least, and where there is no other measure of it, as a share of it."""


FAMILIES: dict[str, type[Noise]] = {
    "gaussian": Gaussian, "poisson": Poisson, "poisson-gaussian": PoissonGaussian, "gamma": Gamma,
    "correlated": Correlated,
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """Hold a family of noise and its parameters, as found in data.

    kind: a key of `unveil.noise.NOISES`. parameters, errors: by name, in the units of the images, with standard errors.
    why: in a few words. doubt: why no family fits, and this one is the nearest; None where it does. bounds: of the
    offset, all of which fit; assumed: of the offset, as `unveil.noise.estimate.background` says; None where there is
    none. curve, line: what it rests on. each: where every image has parameters of its own, what is common to them;
    there are then no parameters here, but the range of the gains.
    """

    kind: str
    parameters: dict[str, float]
    errors: dict[str, float]
    why: str
    curve: TransferCurve
    line: TransferLine | None = None
    bounds: tuple[float, float] | None = None
    assumed: str | None = None
    doubt: str | None = None
    shape: dict[str, Any] = field(default_factory=dict)
    each: OwnNoise | None = None
    gains: Gains | None = None

    @property
    def noise(self) -> Noise | OwnNoise:
        """Return the noise of images in these units."""
        if self.each is not None:
            return self.each
        return FAMILIES[self.kind](**self.parameters, **self.shape)

    def scaled(self, a: float, mu: float = 0.0) -> "Found":
        """Return what would be found in a y + mu, a > 0."""
        line, bounds = self.line, self.bounds
        return replace(
            self,
            parameters={
                name: value if name == "looks" else a * value + mu * (name == "offset")
                for name, value in self.parameters.items()
            },
            errors={name: value if name == "looks" else a * value for name, value in self.errors.items()},
            curve=self.curve.scaled(a, mu),
            line=None if line is None else line.scaled(a, mu),
            bounds=None if bounds is None else (a * bounds[0] + mu, a * bounds[1] + mu),
            gains=None if self.gains is None else self.gains.scaled(a),
        )

    def __str__(self) -> str:
        """Return one line: the family, its parameters with their errors, and why."""
        values = self.parameters.items()
        named = ", ".join(f"{WORDS[name]} {measured(value, self.errors[name])}" for name, value in values)
        if self.each is not None:
            named = f"of each image its own: {self.gains}{self.each.common}"
        found = f"{self.kind}, {named} ({self.why})"
        return found if self.doubt is None else f"no family fits ({self.doubt}); the nearest is {found}"


WORDS = {"sigma": "level", "gain": "gain", "read": "read noise", "offset": "offset", "looks": "looks"}
"""What parameters are called in a sentence."""


def measured(value: float, error: float) -> str:
    """Return "value +- error", to two digits of the error."""
    if not error > 0:
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(error))
    return f"{value:.{max(0, digits)}f} +- {error:.{max(0, digits)}f}" if digits < 7 else f"{value:.4g} +- {error:.2g}"


def choose_noise(images: Sequence[Tensor], zero: float = 0.0, level: Callable[[], float] | None = None) -> Found:
    """Return the noise of `images` (C, H, W), real, in common units, 8 pixels a side or more.

    zero: the brightness that stands for the number 0 in the files. level: finds that of Gaussian noise, in more images
        for instance; None: it is found in these.
    Raises UnveilError where no level can be found, as of saturated images.
    """
    images = [image for image in images if float(image.min()) < float(image.max())]
    blocks = blocks_of(images)
    found, tilt = _nearest(images, blocks, zero, level), noise_tilt(blocks)
    pair, white, spectrum = dependent_channels(images), tilt is None or tilt.white, find_spectrum(images)
    spectrum = spectrum if spectrum is not None and spectrum.plausible else None
    striped = spectrum is not None and max(spectrum.rows, spectrum.columns) > STRIPED
    if pair is None and found.kind == "gaussian" and spectrum is not None and (striped or not white):
        return _correlated(spectrum, images)
    if pair is not None and not pair.copies and found.kind == "gaussian" and white and not striped:
        return _of_channels(found, pair, images)
    if not white:
        return replace(found, doubt="it is not white: neighbouring pixels have part of it in common")
    if pair is not None:
        a, b = pair.channels
        return replace(
            found, doubt=f"channels {a} and {b} have part of it in common, a correlation of {pair.correlation:.2f}"
        )
    if striped:
        return replace(found, doubt="pixels of a row or column have part of it in common")
    return _each(found, images)


def _correlated(spectrum: NoiseFound, images: Sequence[Tensor]) -> Found:
    shape: dict[str, Any] = {"kernel": spectrum.kernel, "rows": spectrum.rows, "columns": spectrum.columns}
    error = math.hypot(spectrum.sigma_error, CORRELATED_ERROR * spectrum.sigma)
    why = f"{EVEN}; {spectrum.words}"
    curve = coloured_curve(images, Correlated(1.0, **shape).correlation(SIDE, SIDE))
    line = fit_line(curve)
    grows = line is not None and line.grows
    doubt = "it is not white, and grows with brightness" if grows else None
    parameters, errors = {"sigma": spectrum.sigma}, {"sigma": error}
    return Found("correlated", parameters, errors, why, curve, line, doubt=doubt, shape=shape)


def _of_channels(found: Found, pair: ChannelPair, images: Sequence[Tensor]) -> Found:
    """Return white noise that channels share, its level found by channel."""
    channels = [[image[c, None] for image in images] for c in range(len(images[0]))]
    levels = torch.tensor([estimate_common_sigma(channel) for channel in channels], dtype=torch.float64)
    errors = [_sigma_error(s, curve_of(blocks_of(channel))) for s, channel in zip(levels.tolist(), channels)]
    error = math.sqrt(sum(e**2 for e in errors) / len(errors))
    levels = levels.clamp_min(1e-3 * float(levels.max()))
    sigma = float(levels.square().mean().sqrt())
    covariance = channel_correlation(images) * levels * levels[:, None] / sigma**2
    a, b = pair.channels
    why = f"{EVEN}; that of channels {a} and {b} correlates by {measured(pair.correlation, pair.error)}"
    return replace(
        found, kind="correlated", parameters={"sigma": sigma}, errors={"sigma": error}, why=why,
        shape={"covariance": covariance.float()},
    )  # fmt: skip


def _nearest(images: Sequence[Tensor], blocks: Blocks, zero: float, level: Callable[[], float] | None) -> Found:
    """Return the family that the variance of the noise suits, white and independent as it may be or not."""
    curve = curve_of(blocks)
    line = fit_line(curve)
    even = even_noise(images, zero) if shows_one_brightness(blocks, line) else None
    if even is not None:
        why = f"{ONE}, and it is {even.words}"
        return Found(even.kind, even.parameters, even.errors, why, curve, None, even.bounds, even.assumed)
    # of a range of values that begins elsewhere 0 is not the dark, which is what counts begin at
    straight = fit_straight(curve) if zero == 0 else None
    step = photon_step(images) if straight is not None else None
    if straight is not None and step is not None and straight.counts(step):
        return Found("poisson", {"gain": step}, {"gain": 0.0}, COUNTS, curve, line)
    if line is None or not line.grows:
        sigma = level() if level is not None else estimate_common_sigma(images)
        return Found("gaussian", {"sigma": sigma}, {"sigma": _sigma_error(sigma, curve)}, EVEN, curve, line)
    speckle = fit_speckle(curve) if zero == 0 else None
    if speckle is not None and speckle.beats(line):
        return Found("gamma", {"looks": speckle.looks}, {"looks": speckle.looks_error}, SQUARE, curve, line)
    divided = divide(line, curve, blocks, zero)
    gain_error = max(line.gain_error, coherent_error(curve, line, len(images)))
    return Found(
        "poisson-gaussian",
        {"gain": line.gain, "read": divided.read, "offset": divided.offset},
        {"gain": gain_error, "read": divided.read_error, "offset": divided.offset_error},
        GROWS, curve, line, divided.bounds, divided.assumed,
    )  # fmt: skip


def _each(found: Found, images: Sequence[Tensor]) -> Found:
    """Return what is found of each image by itself, where one gain does not serve all, else `found`."""
    try:
        own = own_noise(images, LAWS[found.kind])
    except UnveilError as error:
        return replace(found, doubt=str(error))
    if own is None:
        return found
    each, gains = own
    return Found(each.kind, {}, {}, OWN, found.curve, each=each, gains=gains)


ONE = "of one brightness, noise alone"
EVEN, GROWS = "variance does not grow with the mean", "variance grows with the mean"
COUNTS = "variance is what whole photons make of the mean"
SQUARE = "variance grows as the square of the mean"
OWN = "variance grows with the mean, in each image at a rate of its own"


def _sigma_error(sigma: float, curve: TransferCurve) -> float:
    """Return the standard error of a level: what it differs by from another measure of it."""
    if not len(curve.mean):
        return UNSEEN * sigma
    w = 1 / curve.error.square()
    other = float(((w * curve.variance).sum() / w.sum()).clamp_min(0).sqrt())
    return math.hypot(1.5 * (sigma - other), LEVEL_ERROR * sigma)
