"""The `system` section of a configuration: which imaging system measured the data, as YAML. One class a system.

Kept apart from `unveil.operators`, which builds what is described here and loads deepinv.
"""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unveil.paths import FilePath

__all__ = [
    "Axis",
    "BlurSystem",
    "CryoEMSystem",
    "DemosaicingSystem",
    "Identity",
    "InpaintingSystem",
    "InterferometrySystem",
    "MRISystem",
    "SuperResolutionSystem",
    "System",
    "TomographySystem",
    "UVTrack",
    "systems",
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Identity(Section):
    """The measurements are the images themselves, with noise."""

    kind: Literal["identity"] = Field("identity", description="the imaging system; another kind has other keys")


class InpaintingSystem(Section):
    """Missing pixels: the entries of the measurements that the mask does not select are ignored."""

    kind: Literal["inpainting"] = Field("inpainting", description="the imaging system; another kind has other keys")
    mask: FilePath = Field(
        description="PNG, .npy or HDF5 (FILE.h5:DATASET), (H, W) or one mask per measurement (N, H, W); 0 where a pixel is missing"
    )


class MRISystem(Section):
    """Accelerated Cartesian MRI: complex k-space on a centred grid, of one coil or several."""

    kind: Literal["mri"] = Field("mri", description="the imaging system; another kind has other keys")
    mask: FilePath = Field(
        description="PNG, .npy or HDF5 (FILE.h5:DATASET), (H, W), columns (W,), or one mask per measurement (N, H, W); 1 (white) "
        "where k-space is measured, 0 elsewhere"
    )
    coils: FilePath | None = Field(
        None,
        description=".npy or HDF5 (FILE.h5:DATASET) of the coils' sensitivities, complex, without unit, (coils, H, W) or one set per measurement "
        "(N, coils, H, W); null for a single coil",
    )


class DemosaicingSystem(Section):
    """Raw mosaics of a colour camera: each pixel sees red, green or blue."""

    kind: Literal["demosaicing"] = Field("demosaicing", description="the imaging system; another kind has other keys")
    pattern: Literal["RGGB", "BGGR", "GRBG", "GBRG"] = Field(
        "RGGB", description="colours of the four pixels at the top left, row by row"
    )


class BlurSystem(Section):
    """A blur that is known and the same everywhere."""

    kind: Literal["blur"] = Field("blur", description="the imaging system; another kind has other keys")
    kernel: FilePath | None = Field(
        None, description="PNG or .npy, (h, w): the picture of a point; it is divided by its sum. This or deviation"
    )
    deviation: float | None = Field(None, gt=0, le=256, description="of a Gaussian kernel, in pixels. This or kernel")


class SuperResolutionSystem(Section):
    """Coarse pixels: an antialiasing kernel, then one pixel kept of factor x factor."""

    kind: Literal["super_resolution"] = Field(
        "super_resolution", description="the imaging system; another kind has other keys"
    )
    factor: int = Field(description="side of a coarse pixel, in pixels of the image", ge=2, le=64)
    kernel: FilePath | None = Field(
        None, description="PNG or .npy, (h, w) in pixels of the image; it is divided by its sum. null: bicubic"
    )


Axis = float | Literal["centre", "astra", "tomopy", "scikit-image"]
"""Where the axis of rotation is, as `unveil.operators.tomography` says."""


class TomographySystem(Section):
    """Sinograms of parallel rays, of shape (detectors, angles)."""

    kind: Literal["tomography"] = Field("tomography", description="the imaging system; another kind has other keys")
    angles: FilePath | None = Field(
        None, description=".npy, (T,) in degrees, counterclockwise; null: 180 degrees divided equally"
    )
    width: int | None = Field(
        None, ge=2, le=2**16, description="of the image, in detectors; null: as many as there are detectors"
    )
    axis: Axis = Field(
        "centre",
        description="of rotation: centre (astra and tomopy are the same), scikit-image (pixel D // 2 of D detectors, W // 2 of the "
        "image), or the number of its pixel on the detector, the middle of the first being 0",
    )


class UVTrack(Section):
    """What stations see of a source while the Earth turns, and their thermal noise."""

    stations: FilePath = Field(
        description="text table, a line 'name X Y Z SEFD' per station: geocentric metres, jansky"
    )
    right_ascension: float = Field(ge=0, lt=24, description="of the source, hours")
    declination: float = Field(ge=-90, le=90, description="of the source, degrees")
    frequency: float = Field(gt=0, description="observing frequency, hertz")
    start: float = Field(description="first sidereal time at Greenwich (GMST), hours")
    stop: float = Field(description="last sidereal time at Greenwich (GMST), hours; beyond 24 for the next day")
    cadence: float = Field(gt=0, description="minutes from one visibility of a pair of stations to its next")
    bandwidth: float = Field(gt=0, description="averaged into one visibility, hertz")
    integration: float = Field(gt=0, description="averaged into one visibility, seconds")
    minimum_elevation: float = Field(10.0, ge=-90, lt=90, description="degrees above the horizon of each station")


class InterferometrySystem(Section):
    """Radio interferometry: Fourier coefficients of a patch of the sky, whitened, the real and imaginary parts as (2, 1, M)."""

    kind: Literal["interferometry"] = Field(
        "interferometry", description="the imaging system; another kind has other keys"
    )
    pixels: int = Field(ge=1, le=2**13, description="width and height of the image in pixels")
    field_of_view: float = Field(gt=0, description="width and height of the image, edge to edge, microarcseconds")
    brightness: float = Field(
        1.0, gt=0, le=1e12, description="jansky per pixel that the value 1 of an image stands for"
    )
    uvfits: FilePath | None = Field(
        None, description="UVFITS file with the points (u, v) and the noise; or else give track"
    )
    track: UVTrack | None = Field(
        None, description="points (u, v) and noise of stations that follow a source; or else give uvfits"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "InterferometrySystem":
        if (self.uvfits is None) == (self.track is None):
            raise ValueError("give either uvfits or track, where the points (u, v) come from")
        return self


class CryoEMSystem(Section):
    """Particles seen through the contrast transfer function. What the table has a column for is left out here."""

    kind: Literal["cryoem"] = Field("cryoem", description="the imaging system; another kind has other keys")
    pixel_size: float | None = Field(None, ge=1e-3, description="of the images, angstrom; null: in the table")
    voltage: float | None = Field(None, ge=1e-3, description="of the electrons, kilovolt; null: in the table")
    cs: float | None = Field(None, description="spherical aberration, millimetre; null: in the table")
    amplitude_contrast: float | None = Field(None, ge=0, le=1, description="a fraction; null: in the table")
    defocus_u: float | None = Field(
        None, description="of all images, angstrom, positive under focus; null: in the table"
    )
    defocus_v: float | None = Field(None, description="the other principal defocus, angstrom; null: none but defocus_u")
    defocus_angle: float | None = Field(None, description="from the x axis to defocus_u, degrees; null: 0")
    phase_shift: float | None = Field(None, description="of a phase plate, degrees; null: 0")
    table: FilePath | None = Field(
        None, description="RELION .star, or .csv with these names, one row per measurement and in their order"
    )

    @model_validator(mode="after")
    def _defocus(self) -> "CryoEMSystem":
        if self.defocus_u is None and self.table is None:
            raise ValueError("give defocus_u, or a table with the defocus of each measurement")
        return self


System = Annotated[
    Identity
    | InpaintingSystem
    | CryoEMSystem
    | DemosaicingSystem
    | BlurSystem
    | SuperResolutionSystem
    | TomographySystem
    | MRISystem
    | InterferometrySystem,
    Field(discriminator="kind"),
]


def systems() -> dict[str, type[Section]]:
    """The sections of all imaging systems, by kind."""
    return {kind.model_fields["kind"].default: kind for kind in get_args(get_args(System)[0])}
