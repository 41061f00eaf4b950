"""Observations held against the interferometer that a configuration describes.

Are they its, and how bright are their sources?
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unveil.data import ImageSource
from unveil.data.uvfits import observations
from unveil.errors import UnveilError, warn
from unveil.instruments.instrument import USUAL, Scale
from unveil.instruments.interferometry import InterferometrySection
from unveil.instruments.interferometry.brightness import peak_brightness
from unveil.instruments.interferometry.operator import MICROARCSECOND, read_coverage
from unveil.instruments.interferometry.scatter import noise_line
from unveil.instruments.interferometry.uvfits import read_uvfits

__all__ = ["check_observations", "check_source", "find_brightness", "find_scale"]

SAME_POINT = 0.02
"""Cycles across the image by which two points (u, v) may differ."""
SAME_NOISE = 1.02
"""The ratio by which the noise of a visibility may, over that of all."""


def check_observations(section: InterferometrySection, files: Sequence[Path]) -> None:
    """Raise UnveilError, which names the first, where UVFITS `files` have other points (u, v) or noise than the system.

    A has one set of points: the Earth turns, and other bands have other frequencies.
    """
    if not files:
        return
    coverage, source = read_coverage(section)
    for file in files:
        found, visibilities = read_uvfits(file)
        if (line := noise_line(found, visibilities)) is not None:
            warn(f"{file}: {line}")
        advice = f"give each observation a run of its own, with --set operator.uvfits={file}"
        if len(found) != len(coverage):
            raise UnveilError(f"{file} has {len(found)} visibilities, and {source} has {len(coverage)}; {advice}")
        gap = float(torch.maximum((found.u - coverage.u).abs(), (found.v - coverage.v).abs()).max())
        ratio = float((found.sigma / found.level * coverage.level / coverage.sigma).log().abs().max().exp())
        if gap * section.field_of_view * MICROARCSECOND > SAME_POINT:
            raise UnveilError(
                f"{file}: its baselines (u, v) are not those of {source}: they differ by up to {gap:.3g} wavelengths; "
                f"{advice}"
            )
        if ratio > SAME_NOISE:
            raise UnveilError(
                f"{file}: the noise of its visibilities is not that of {source}: it differs by up to {ratio - 1:.0%} "
                f"from point to point; {advice}"
            )


def find_brightness(section: InterferometrySection, y: Tensor) -> float | None:
    """Return the `brightness` that puts images about in [0, 1], to within a factor of about two.

    From measurements y (B, 2, 1, M), whitened.

    None where the noise hides the sources.
    """
    coverage, _ = read_coverage(section)
    visibilities = torch.complex(y[:, 0, 0], y[:, 1, 0]) * (coverage.sigma / coverage.level)
    field = section.field_of_view * MICROARCSECOND
    found = peak_brightness(visibilities, coverage, field)
    return None if found is None else found * (field / section.pixels) ** 2


def check_source(section: InterferometrySection, source: ImageSource) -> None:
    """Raise UnveilError where measurements are UVFITS files of other points (u, v), or of other noise."""
    check_observations(section, observations(source))


def find_scale(section: InterferometrySection, y: Tensor) -> Scale | None:
    """Return the brightness that puts images about in [0, 1], from measurements y (B, 2, 1, M).

    None where noise hides the sources.
    """
    found = find_brightness(section, y)
    if found is None:
        return None
    low, high = USUAL
    unusual = None
    if not low < found / section.brightness / 4 < high:
        unusual = (
            f"the sources' peaks seem to be at {found:.2g} jansky per pixel, and operator.brightness is "
            f"{section.brightness:.2g}: training supposes values of about 0 to 1; leave it out, or --set "
            f"operator.brightness={found:.2g}"
        )
    about = f"the sources' peaks are at about {found:.2g}, to within a factor of two;"
    return Scale("brightness", found, about, unusual)
