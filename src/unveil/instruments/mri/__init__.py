"""Accelerated magnetic resonance imaging. What the configuration says of them, and what the library knows."""

from typing import Literal

from pydantic import Field

from unveil.instruments.instrument import Instrument
from unveil.paths import FilePath
from unveil.sections import Section

__all__ = ["INSTRUMENT", "MRISection"]


class MRISection(Section):
    """Accelerated Cartesian MRI: complex k-space on a centred grid, of one coil or several."""

    kind: Literal["mri"] = Field("mri", description="the imaging system; another kind has other keys")
    mask: FilePath | Literal["estimate"] = Field(
        "estimate",
        description="PNG, .npy or HDF5 (FILE.h5:DATASET), (H, W), columns (W,), or one mask per measurement (N, H, W); "
        "1 (white) where k-space is measured, 0 elsewhere; estimate: where each k-space is not 0",
    )
    coils: FilePath | Literal["estimate"] | None = Field(
        None,
        description=".npy or HDF5 (FILE.h5:DATASET) of the coils' sensitivities, complex, without unit, (coils, H, W) "
        "or one set per measurement (N, coils, H, W); estimate: from the centre of each k-space; null for "
        "a single coil",
    )


INSTRUMENT = Instrument(
    section=MRISection,
    build="unveil.instruments.mri.operator:build_mri",
    example="unveil.instruments.mri.example:k_space",
    settings={
        "loss": {
            "symmetry": ["rotate", "flip"],
            "equivariance": 3.0,
            "seen": True,
            "hidden": 0.0,
            "scales": [1],
            "camera": 1.0,
        },
        "estimator": {"iterations": 3},
    },
    keys=("mask",),
    mean=0.0,
    prior="white",
    level_shows=False,
    level="unveil.instruments.mri.kspace:noise_level",
    centred=True,
    complete="unveil.instruments.mri.inside:complete",
    estimate="unveil.instruments.mri.inside:estimate",
    estimated={"coils": "sensitivities", "mask": "mask"},
    findings="unveil.instruments.mri.calibration:findings",
    doubts="unveil.instruments.mri.kspace:doubts",
    scales=True,
)
"""Of what an accelerated scan leaves out only what other turns saw is taught, and f is shown all columns."""
