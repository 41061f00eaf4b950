"""Imaging systems y = A x + n: a named constructor each, one system a file.

A constructor returns an `Operator`, of all measurements or of each. Both y and x are real
tensors (C, H, W); complex entries are two channels, and coils or visibilities lie along the axes that the constructor states.
"""

from unveil.operators.base import Coarser, Operator
from unveil.operators.blur import blur, gaussian_kernel
from unveil.operators.build import build_operator
from unveil.operators.coverage import Coverage, whiten
from unveil.operators.cryoem import particles
from unveil.operators.ctf import Optics, ctf, electron_wavelength
from unveil.operators.demosaicing import demosaicing
from unveil.operators.identity import Identity
from unveil.operators.inpainting import inpainting, missing_box, random_mask
from unveil.operators.interferometry import interferometry
from unveil.operators.mri import magnitude, mri
from unveil.operators.mri_coils import birdcage_coils, normalize_coils
from unveil.operators.mri_masks import cartesian_mask
from unveil.operators.observations import check_observations, find_brightness
from unveil.operators.stations import Station, read_stations
from unveil.operators.super_resolution import super_resolution
from unveil.operators.tomography import tomography
from unveil.operators.turned import Turned
from unveil.operators.uvfits import read_uvfits
from unveil.operators.uvtrack import uv_track
from unveil.operators.volume import random_rotations, relion_rotations, volume

__all__ = [
    "Coarser",
    "Coverage",
    "Identity",
    "Operator",
    "Optics",
    "Station",
    "Turned",
    "birdcage_coils",
    "blur",
    "build_operator",
    "cartesian_mask",
    "check_observations",
    "ctf",
    "demosaicing",
    "electron_wavelength",
    "find_brightness",
    "gaussian_kernel",
    "inpainting",
    "interferometry",
    "magnitude",
    "missing_box",
    "mri",
    "normalize_coils",
    "particles",
    "random_mask",
    "random_rotations",
    "read_stations",
    "read_uvfits",
    "relion_rotations",
    "super_resolution",
    "tomography",
    "uv_track",
    "volume",
    "whiten",
]
