"""What evaluation.json holds under `evidence`: intervals, calibration, resolution. Each part may be missing."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Averages", "Calibration", "Conformal", "Errors", "Evidence", "Figure", "Flux", "Resolution"]

Curve = list[float | None]


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


class ImageError(_Part):
    """PSNR of one image, dB, and its 95% interval; None: unknown, or no end."""

    name: str
    psnr: float | None = None
    low: float | None = None
    high: float | None = None


class MeanError(_Part):
    """Mean PSNR of `images`, its 95% interval, and that of further images like these; dB.

    groups: the files or volumes that the images are of, each by itself where it is one of its own.
    """

    psnr: float | None = None
    low: float | None = None
    high: float | None = None
    images: int | list[str] | None = None
    groups: int | None = None
    next_low: float | None = None
    next_high: float | None = None


class Errors(_Part):
    """Without a reference."""

    images: list[ImageError] = []
    mean: MeanError | None = None


class Bound(_Part):
    """With probability `level` the root mean square error of the next image is below rmse, on the [0, 1] scale.

    level_se: what that probability is known to.
    """

    level: float
    level_se: float | None = None
    rmse: float | None = None
    psnr: float | None = None


class Conformal(_Part):
    """Bounds learned from so many images."""

    images: int
    bounds: list[Bound] = []


class Pixels(_Part):
    """Intervals of pixels: half their width, in the mean, on the [0, 1] scale, and what of a reference is inside.

    level_se: by how much the share of pixels inside is off each level.
    """

    levels: list[float]
    level_se: list[float] | None = None
    half_width: list[float]
    coverage_reference: list[float] | None = None


class Brightness(_Part):
    """Spread and error in places of one brightness; ratio: of their variances."""

    brightness: float
    spread: float
    error: float | None = None
    ratio: float | None = None
    se: float | None = None


class ShownSpread(_Part):
    """Spread over error of the samples that are shown, given all of the exposure, by Stein's estimate of the error."""

    spread_over_error: float | None = None
    spread_over_error_se: float | None = None
    by_brightness: list[Brightness] = []


class Calibration(_Part):
    """Whether the samples' spread is the error: a verdict, and what it rests on."""

    exposure: float = 1.0
    samples: int | None = None
    levels: list[float] = []
    coverage: Curve = []
    coverage_se: Curve = []
    histogram: Curve = []
    histogram_se: Curve = []
    p_value: float | None = None
    spread_over_error: float | None = None
    spread_over_error_se: float | None = None
    by_brightness: list[Brightness] = []
    shown: ShownSpread | None = None
    verdict: str
    reason: str = ""


class Resolution(_Part):
    """Correlations of Fourier rings, by frequency in cycles per pixel; pixels: the resolved periods."""

    frequency: list[float] = []
    raw: Curve | None = None
    halves: Curve | None = None
    to_truth: Curve | None = None
    to_truth_se: Curve | None = None
    reference: Curve | None = None
    half_bit: Curve | None = None
    pixels: dict[str, float | None] = {}
    pixel_size: float | None = None
    unit: str | None = None


class Flux(_Part):
    """The line through block means of the estimate against those of the measurement."""

    slope: float
    se: float | None = None
    offset: float | None = None
    offset_se: float | None = None
    block: int | None = None
    points: list[tuple[float, float]] = []


class Component(_Part):
    """Shares of the samples' variance along their principal components."""

    shares: list[float] = []


class Averages(_Part):
    """What means of k samples cost against the estimate, dB: of exact ones, without the reference and with it."""

    k: list[int]
    exact: list[float]
    cost: list[float]
    cost_se: list[float]
    cost_reference: list[float] | None = None
    images: int = 0


class Turned(_Part):
    """Variance of samples over squared error, as turned instruments see both, and its standard error."""

    spread_over_error: float
    spread_over_error_se: float
    images: int


class FigureChart(_Part):
    """Curves over x by their labels, their standard errors, and heights that are drawn across."""

    title: str
    words: str
    xlabel: str
    ylabel: str
    x: list[float]
    curves: dict[str, Curve]
    errors: dict[str, Curve] = {}
    level: dict[str, float] = {}


class Figure(_Part):
    """A field's own figure, in words, and what it draws."""

    title: str
    state: Literal["good", "bad", "unsure", "told"]
    said: str
    detail: str = ""
    charts: list[FigureChart] = []


class Evidence(_Part):
    """All of it. not_valid: the parts that do not hold, since the noise model does not fit."""

    not_valid: list[str] = []
    error: Errors | None = None
    conformal: Conformal | None = None
    pixels: Pixels | None = None
    calibration: Calibration | None = None
    calibration_reference: Calibration | None = None
    resolution: Resolution | None = None
    flux: Flux | None = None
    turned: Turned | None = None
    averages: Averages | None = None
    components: dict[str, Component] = {}
    figures: dict[str, Figure] = {}

    def holds(self, part: str) -> bool:
        return part not in self.not_valid
