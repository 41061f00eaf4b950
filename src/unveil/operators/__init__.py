"""Operators y = A x + n: the contract, what is made of other operators, and the instruments' constructors.

A constructor (`inpainting`, `mri`, ...) lies in its instrument's folder, `unveil.instruments`, and returns an
`Operator`, of all measurements or of each. Both y and x are real tensors (C, H, W); complex entries are two channels,
and coils or visibilities lie along the axes that the constructor states.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unveil.operators.base import Coarser, Operator
from unveil.operators.identity import Identity
from unveil.operators.turned import Turned

if TYPE_CHECKING:
    from unveil.instruments.blur.operator import blur, gaussian_kernel
    from unveil.instruments.cryoem.ctf import Optics, ctf, electron_wavelength
    from unveil.instruments.cryoem.operator import particles
    from unveil.instruments.cryoem.volume import random_rotations, relion_rotations, volume
    from unveil.instruments.demosaicing.operator import demosaicing
    from unveil.instruments.inpainting.operator import inpainting, missing_box, random_mask
    from unveil.instruments.interferometry.coverage import Coverage, whiten
    from unveil.instruments.interferometry.operator import interferometry
    from unveil.instruments.interferometry.stations import Station, read_stations
    from unveil.instruments.interferometry.uvfits import read_uvfits
    from unveil.instruments.interferometry.uvtrack import uv_track
    from unveil.instruments.mri.coils import birdcage_coils, normalize_coils
    from unveil.instruments.mri.masks import cartesian_mask
    from unveil.instruments.mri.operator import magnitude, mri
    from unveil.instruments.registry import build_operator
    from unveil.instruments.super_resolution.operator import super_resolution
    from unveil.instruments.tomography.operator import tomography

_WHERE = {
    "blur.operator": ("blur", "gaussian_kernel"),
    "cryoem.ctf": ("Optics", "ctf", "electron_wavelength"),
    "cryoem.operator": ("particles",),
    "cryoem.volume": ("random_rotations", "relion_rotations", "volume"),
    "demosaicing.operator": ("demosaicing",),
    "inpainting.operator": ("inpainting", "missing_box", "random_mask"),
    "interferometry.coverage": ("Coverage", "whiten"),
    "interferometry.operator": ("interferometry",),
    "interferometry.stations": ("Station", "read_stations"),
    "interferometry.uvfits": ("read_uvfits",),
    "interferometry.uvtrack": ("uv_track",),
    "mri.coils": ("birdcage_coils", "normalize_coils"),
    "mri.masks": ("cartesian_mask",),
    "mri.operator": ("magnitude", "mri"),
    "registry": ("build_operator",),
    "super_resolution.operator": ("super_resolution",),
    "tomography.operator": ("tomography",),
}
"""Module of `unveil.instruments` -> what of it is offered here; loaded when it is used."""
_CONSTRUCTORS = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Coarser", "Coverage", "Identity", "Operator", "Optics", "Station", "Turned", "birdcage_coils", "blur",
    "build_operator", "cartesian_mask", "ctf", "demosaicing", "electron_wavelength", "gaussian_kernel", "inpainting",
    "interferometry", "magnitude", "missing_box", "mri", "normalize_coils", "particles", "random_mask",
    "random_rotations", "read_stations", "read_uvfits", "relion_rotations", "super_resolution", "tomography",
    "uv_track", "volume", "whiten",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _CONSTRUCTORS:
        return getattr(import_module(f"unveil.instruments.{_CONSTRUCTORS[name]}"), name)
    raise AttributeError(f"module 'unveil.operators' has no attribute {name!r}")
