"""What the library knows of a kind of instrument: the one place where kinds differ. No heavy imports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from unveil.sections import Section

__all__ = ["USUAL", "ImageUnits", "Instrument", "Scale", "load"]

USUAL = (0.02, 3.0)
"""Of the deviation of images' values. The estimator and the losses suppose about 0.25."""

Name = str
"""module:function, loaded when it is used."""


@dataclass(frozen=True)
class ImageUnits:
    """What the values and the pixels of an image stand for: low + (high - low) x, in units called `name`.

    pixel: the side of a pixel along a row, in units called `pixel_unit`; None: not known.
    """

    low: float = 0.0
    high: float = 1.0
    name: str = "units of the data"
    pixel: float | None = None
    pixel_unit: str = ""


@dataclass(frozen=True)
class Instrument:
    """One kind of instrument.

    section:  what the configuration says of it; `kind` is its name.
    build:    (section, shape (C, H, W) of a measurement, how many) -> its `Operator`. Raises UnveilError, naming the
              key, when a file is missing or does not fit the measurements.
    example:  (folder that its files will be in) -> a simulated `Example`.
    settings: of the configuration, that `init` writes: the symmetries that teach what it leaves out, weights, the
        network.
    keys:     of the section, that have no default or say most, for the head of the example.
    mean:     of its images; 0 where that is their background.
    prior:    stationary, or white where that cannot tell what it measures one from another, or is slow to apply.
    level_shows: whether the noise level can be estimated from the measurements, which look like images with noise.
    level:    (measurements (B, C, H, W), their operators) -> the level that they tell otherwise; None where they do
        not.
    same_grid: whether its images have the pixels of their measurements, and so their size and units.
    sees_all: whether it leaves nothing out: its measurements are the images, each of its own shape, and have windows.
    centred:  whether the middle of its measurements is the zero frequency.
    scales:   whether coarser measurements are found in its measurements, `Operator.coarser`.
    complete: (keys of the section as given, the data's path) -> keys found in the data: name -> (value, a line to say).
    scale:    (section, first measurements (B, C, H, W)) -> what they tell of the section's scale, a `Scale`; None where
        nothing.
    units:    (section) -> what it tells of its images' values and pixels, `ImageUnits`; where they have the pixels of
        their measurements the values are those of the files.
    table:    (section) -> the file with a row for each measurement, if there is one; results get one like it.
    check:    (section, source): raises UnveilError where files of measurements are not of this instrument.
    estimate: (section, source) -> the operator where keys of the section are "estimate", else None. Raises UnveilError
        where they cannot be found in the measurements.
    estimated: those keys -> the operator's tensors that hold what was found.
    findings: (measurements (B, C, H, W), their operators) -> lines on what is found of the instrument in them.
    doubts:   (measurements (B, C, H, W), their operators, the root of the noise's mean variance, or None) -> lines
        where they contradict the description.
    """

    section: type[Section]
    build: Name
    example: Name | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    mean: float = 0.5
    prior: str = "stationary"
    level_shows: bool = True
    level: Name | None = None
    same_grid: bool = False
    sees_all: bool = False
    centred: bool = False
    scales: bool = False
    complete: Name | None = None
    scale: Name | None = None
    units: Callable[[Any], ImageUnits] = lambda section: ImageUnits()
    table: Callable[[Any], str | None] = lambda section: None
    check: Name | None = None
    estimate: Name | None = None
    estimated: Mapping[str, str] = field(default_factory=dict)
    findings: Name | None = None
    doubts: Name | None = None

    @property
    def kind(self) -> str:
        return str(self.section.model_fields["kind"].default)


@dataclass(frozen=True)
class Scale:
    """What measurements tell of a key that scales the images.

    Its name, its value, a comment, and a line where the section differs.
    """

    key: str
    value: float
    comment: str
    unusual: str | None


def load(name: Name) -> Callable[..., Any]:
    """Return the function that is called so."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
