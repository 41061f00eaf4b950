"""The `noise` section of a configuration: the family of the noise and what is known of it, as YAML. One class a family.

Kept apart from `unveil.noise`, which computes with what is described here and loads torch. To add a family: its file in
`unveil.noise`, its class here, and its place in `NoiseSection`.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from unveil.paths import FilePath
from unveil.sections import Section

__all__ = [
    "LEAST_SIGMA", "MOST_SIGMA", "AutoNoise", "CorrelatedNoise", "GammaNoise", "GaussianNoise", "NoiseFamily",
    "NoiseSection", "PoissonGaussianNoise", "PoissonNoise", "families", "sections",
]  # fmt: skip

MAP = "; or a file of its map, one image of the size of the images, in the numbers of the files"
FAMILY = (
    "gaussian, poisson, poisson-gaussian, gamma or correlated, each with keys of its own; or auto, found in the data"
)

LEAST_SIGMA, MOST_SIGMA = 1e-9, 1e9
"""So that its square is a number in single precision."""
LEAST_LOOKS, MOST_LOOKS = 0.1, 1e6
"""Below it hardly an entry tells anything; above it noise is less than rounding."""


def _form(stated: Any) -> str:
    """Return whether a parameter is a number, a map or to be estimated.

    A map is in a file, whose name has an extension; a word without one is a slip, and no number.
    """
    if isinstance(stated, str) and "." in PurePath(stated).name:
        try:
            float(stated)
        except ValueError:
            return "map"
    return "estimate" if stated == "estimate" else "number"


Size = Annotated[float, Field(ge=LEAST_SIGMA, le=MOST_SIGMA)]
SizeOrMap = Annotated[Annotated[Size, Tag("number")] | Annotated[FilePath, Tag("map")], Discriminator(_form)]
NumberOrMap = Annotated[Annotated[float, Tag("number")] | Annotated[FilePath, Tag("map")], Discriminator(_form)]
SigmaOrMap = Annotated[
    Annotated[float, Tag("number")] | Annotated[Literal["estimate"], Tag("estimate")] | Annotated[FilePath, Tag("map")],
    Discriminator(_form),
]


class AnyNoise(Section):
    """What all sections answer: which parameters may be maps, and which are."""

    mappable: ClassVar[tuple[str, ...]] = ()

    kind: str

    @property
    def maps(self) -> dict[str, str]:
        """Return the files of those parameters that are maps, by name."""
        stated = {name: getattr(self, name) for name in self.mappable}
        return {name: value for name, value in stated.items() if _form(value) == "map"}


class AutoNoise(AnyNoise):
    """Noise whose family and parameters are found in the data when the run is made."""

    stored: ClassVar[bool] = False
    from_zero: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    kind: Literal["auto"] = Field("auto", description=FAMILY)


class NoiseFamily(AnyNoise):
    """What is known of the noise of one family."""

    family: ClassVar[str]
    """The class that computes with it, as module:class."""
    stored: ClassVar[bool] = False
    """Whether the parameters are in the units of the numbers in the files; else they are on the [0, 1] scale of the
    data."""
    from_zero: ClassVar[bool] = False
    """Whether 0 is the dark, so that the range of the data must begin there."""
    additive: ClassVar[bool] = False
    """Whether the noise does not depend on the signal; of auto it is not known yet."""


class GaussianNoise(NoiseFamily):
    """Noise of one level, or of one for each pixel, that the signal does not change."""

    family: ClassVar[str] = "unveil.noise.gaussian:Gaussian"
    additive: ClassVar[bool] = True
    mappable: ClassVar[tuple[str, ...]] = ("sigma",)

    kind: Literal["gaussian"] = Field("gaussian", description=FAMILY)
    sigma: SigmaOrMap = Field(
        "estimate",
        description="standard deviation on the [0, 1] scale of the data, or estimate (from the data)" + MAP,
    )

    @field_validator("sigma")
    @classmethod
    def _positive(cls, sigma: float | str) -> float | str:
        if not isinstance(sigma, str) and not sigma > 0:
            raise ValueError("must be > 0: give the noise's standard deviation, or estimate")
        if not isinstance(sigma, str) and not LEAST_SIGMA <= sigma <= MOST_SIGMA:
            raise ValueError(
                f"must be between {LEAST_SIGMA:g} and {MOST_SIGMA:g}: set data.value_range to rescale the data"
            )
        return sigma


Matrix = list[list[float]]
"""A small one, by rows."""


class CorrelatedNoise(NoiseFamily):
    """Gaussian noise of one level that neighbouring pixels, rows, columns or channels share."""

    family: ClassVar[str] = "unveil.noise.correlated:Correlated"
    additive: ClassVar[bool] = True

    kind: Literal["correlated"] = Field("correlated", description=FAMILY)
    sigma: Annotated[float, Field(ge=LEAST_SIGMA, le=MOST_SIGMA)] | Literal["estimate"] = Field(
        "estimate",
        description="root of the mean variance on the [0, 1] scale of the data, or estimate (from the covariance in "
        "the units of the files, else from the data)",
    )
    kernel: FilePath | Matrix | Literal["estimate"] | None = Field(
        None,
        description="what makes the noise of white one, in any units: .npy (h, w), or estimate, from images, with rows "
        "and columns; null: neighbours share nothing",
    )
    rows: float = Field(0.0, ge=0, lt=1, description="share of the variance that all pixels of a row have in common")
    columns: float = Field(0.0, ge=0, lt=1, description="share of the variance that a column has in common")
    covariance: FilePath | Matrix | None = Field(
        None,
        description="of the channels' noise, .npy or HDF5 (FILE.h5:DATASET): (C, C), complex of coils; or a noise "
        "scan, samples (n, C) or frames (n, C, H, W); null: they share nothing and are alike",
    )

    @model_validator(mode="after")
    def _found_or_stated(self) -> Self:
        if self.kernel == "estimate" and (self.rows or self.columns):
            raise ValueError("rows and columns are found with kernel: estimate; leave them out")
        if self.kernel is None and self.covariance is None and not (self.rows or self.columns):
            raise ValueError("nothing is correlated: give kernel, rows, columns or covariance, e.g. kernel: estimate")
        if self.rows + self.columns >= 1:
            raise ValueError("rows and columns are all of the variance: leave a share to single pixels")
        return self


class PoissonNoise(NoiseFamily):
    """Counted photons: the noise grows with the brightness."""

    family: ClassVar[str] = "unveil.noise.poisson:Poisson"
    stored: ClassVar[bool] = True
    from_zero: ClassVar[bool] = True

    kind: Literal["poisson"] = Field("poisson", description=FAMILY)
    gain: float = Field(
        ge=LEAST_SIGMA,
        le=MOST_SIGMA,
        description="what one photon adds to the numbers in the files, whatever data.value_range is; 1 where photons "
        "are counted",
    )


class PoissonGaussianNoise(NoiseFamily):
    """Counted photons that a camera reads out: an offset, a gain and read noise."""

    family: ClassVar[str] = "unveil.noise.poisson_gaussian:PoissonGaussian"
    stored: ClassVar[bool] = True
    mappable: ClassVar[tuple[str, ...]] = ("gain", "read", "offset")

    kind: Literal["poisson-gaussian"] = Field("poisson-gaussian", description=FAMILY)
    gain: SizeOrMap = Field(description="what one photon adds to the numbers in the files" + MAP)
    read: SizeOrMap = Field(description="deviation of the numbers in the files in the dark (read noise); or its map")
    offset: NumberOrMap = Field(0.0, description="mean of the numbers in the files in the dark; or its map")


class GammaNoise(NoiseFamily):
    """Speckle of SAR, ultrasound and OCT: noise that multiplies an intensity."""

    family: ClassVar[str] = "unveil.noise.gamma:Gamma"
    stored: ClassVar[bool] = True
    from_zero: ClassVar[bool] = True

    kind: Literal["gamma"] = Field("gamma", description=FAMILY)
    looks: float = Field(
        ge=LEAST_LOOKS,
        le=MOST_LOOKS,
        description="number of looks, (mean / deviation)^2 where the scene is flat: 1 for single-look speckle; of "
        "intensities, so square amplitudes and undo a logarithm first",
    )


def _kind(values: Any) -> str:
    """Return the kind: where it is not stated gaussian, as of {sigma: 0.1}, and of a section without keys auto."""
    if not isinstance(values, Mapping):
        return str(getattr(values, "kind", "gaussian"))
    return str(values.get("kind", "gaussian" if values else "auto"))


NoiseSection = Annotated[
    Annotated[AutoNoise, Tag("auto")]
    | Annotated[GaussianNoise, Tag("gaussian")]
    | Annotated[PoissonNoise, Tag("poisson")]
    | Annotated[PoissonGaussianNoise, Tag("poisson-gaussian")]
    | Annotated[GammaNoise, Tag("gamma")]
    | Annotated[CorrelatedNoise, Tag("correlated")],
    Discriminator(_kind),
]


def sections() -> dict[str, type[Section]]:
    """Return all sections that may describe noise, by kind."""
    return {
        kind.model_fields["kind"].default: kind
        for kind in (get_args(part)[0] for part in get_args(get_args(NoiseSection)[0]))
    }


def families() -> dict[str, type[NoiseFamily]]:
    """Return the sections of all noise families, by kind."""
    return {kind: section for kind, section in sections().items() if issubclass(section, NoiseFamily)}
