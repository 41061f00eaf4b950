"""Simulated measurements that `unveil init KIND` writes where there are none yet, one kind of imaging system a function."""

from collections.abc import Callable
from pathlib import Path

from unveil.cli.examples.base import HELDOUT, Example
from unveil.cli.examples.cryoem import cryoem
from unveil.cli.examples.interferometry import interferometry
from unveil.cli.examples.photographs import blurred, coarse, k_space, missing_pixels, mosaics
from unveil.cli.examples.tomography import sinograms

__all__ = ["EXAMPLES", "HELDOUT", "Example"]

EXAMPLES: dict[str, Callable[[Path], Example]] = {
    "inpainting": missing_pixels,
    "demosaicing": mosaics,
    "mri": k_space,
    "interferometry": interferometry,
    "cryoem": cryoem,
    "tomography": sinograms,
    "blur": blurred,
    "super_resolution": coarse,
}
"""kind -> (folder that the files will be in) -> the example."""
