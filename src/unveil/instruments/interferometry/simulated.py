"""An observation, made ready for images, and simulated sources as it would have seen them.

Ready: a visibility for each scan and pair of stations (`averages`), without those of two stations of one site, which
see what is far wider than the image.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unveil.errors import UnveilError, warn
from unveil.instruments.interferometry.averages import average_scans, drop_short
from unveil.instruments.interferometry.closures import CUT, closures
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.example import PARAMETERS, sources
from unveil.instruments.interferometry.operator import MICROARCSECOND, interferometry
from unveil.instruments.interferometry.scatter import noise_line
from unveil.instruments.interferometry.uvfits import read_uvfits

__all__ = ["SYSTEMATIC", "Observation", "model_visibilities", "read_observation", "simulate", "without_closures"]

SYSTEMATIC = 0.02
"""Of each visibility, in jansky over jansky: what gains do not explain, added to thermal noise."""
SHORTEST = 0.1
"""Cycles across the image of the shortest baseline that is kept: pairs of stations of one site."""
BEAMS = 5
"""Across the field of view, where none is given: resolution elements of the longest baseline."""
COMPACT = (0.3, 0.8)
"""Share of the flux of the shortest baselines that simulated sources have: the rest is wider than the image."""


@dataclass(frozen=True)
class Observation:
    """Visibilities averaged over scans.

    coverage, visibilities: complex (M,), jansky. flux: of the pairs of stations of one site, in the mean, jansky; of
    the shortest baseline where there is none. field_of_view: microarcseconds.
    """

    coverage: Coverage
    visibilities: Tensor
    flux: float
    field_of_view: float


def read_observation(path: str | Path, field_of_view: float | None = None) -> Observation:
    """Return the observation in a UVFITS file; its field of view is of `BEAMS` resolution elements where none is given.

    Raises UnveilError where `read_uvfits` does, and for files without times or stations.
    """
    measured = read_uvfits(path)
    if (line := noise_line(*measured)) is not None:
        warn(f"{path}: {line}")
    coverage, visibilities = average_scans(*measured, SYSTEMATIC)
    length = torch.hypot(coverage.u, coverage.v)
    if field_of_view is None:
        field_of_view = round(BEAMS / float(length.max()) / MICROARCSECOND)
    if not field_of_view > 0:
        raise UnveilError(f"operator.field_of_view must be > 0 microarcseconds, not {field_of_view:g}")
    shortest = SHORTEST / (field_of_view * MICROARCSECOND)
    near = length <= max(shortest, float(length.min()))
    flux = float(visibilities[near].abs().mean())
    return Observation(*drop_short(coverage, visibilities, shortest), flux, field_of_view)


def without_closures(seen: Observation) -> str | None:
    """Return why no gains can be told from an observation: fewer closure quantities than a source has numbers."""
    count = sum(closures(seen.coverage, seen.visibilities).counts)
    if count >= PARAMETERS:
        return None
    return (
        f"{count} closure quantities of visibilities above {CUT:g} sigma, and a source has {PARAMETERS} numbers: "
        "stations' gains cannot be told from these, and whichever source they began with would come out; give an "
        "observation of more stations, or check its weights"
    )


def simulate(seen: Observation, pixels: int, count: int, generator: torch.Generator) -> tuple[Tensor, float]:
    """Return sources x (count, 1, pixels, pixels), and the brightness, jansky per pixel, that the value 1 stands for.

    Their fluxes are uniform in `COMPACT` of the observation's, and their peaks 1 in the mean.
    """
    low, high = COMPACT
    x = sources(count, pixels, generator)
    flux = seen.flux * (low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator))
    x = x * flux / x.sum((1, 2, 3), keepdim=True)
    brightness = float(x.amax((1, 2, 3)).mean())
    return x / brightness, brightness


def model_visibilities(coverage: Coverage, x: Tensor, field_of_view: float, brightness: float) -> Tensor:
    """Return the visibilities, complex (B, M) in jansky, of images x (B, 1, H, W) at the points of the coverage."""
    y = interferometry(coverage, x.shape[-1], field_of_view, brightness).A(x.double())
    return torch.complex(y[:, 0, 0], y[:, 1, 0]) * (coverage.sigma / coverage.level)
