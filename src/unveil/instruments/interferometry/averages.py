"""Averages of visibilities over scans: a scan's are alike but for noise, once the atmosphere's phases are taken out.

    V = sum_k V_k / sigma_k^2 / sum_k 1 / sigma_k^2,   sigma^2 = 1 / sum_k 1 / sigma_k^2 + (f |V|)^2

over the times k of one scan of one pair of stations, all its channels and spectral windows. f is a share of the
visibility that no gain of a station explains (leakage of polarization, a band's shape, phases that moved within the
scan): 1 to 2% for the Event Horizon Telescope in 2017 (EHT Collaboration 2019, Paper III, section 8,
https://doi.org/10.3847/2041-8213/ab0c57).
"""

from dataclasses import replace

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["GAP", "average_scans", "drop_short", "scans_of"]

GAP = 2 / 60
"""Hours without a visibility that end a scan."""


def scans_of(coverage: Coverage) -> Tensor:
    """Return the number (M,) of the scan that each visibility is of: scans are more than GAP hours apart.

    Raises UnveilError where the coverage has no times or no stations.
    """
    if coverage.times is None or not coverage.pairs:
        raise UnveilError("the visibilities have no times or no stations: give a UVFITS file with DATE and BASELINE")
    times, index = coverage.times.unique(return_inverse=True)
    number = torch.cat([torch.zeros(1, dtype=torch.long), (times.diff() > GAP).long().cumsum(0)])
    return number[index]


def average_scans(coverage: Coverage, visibilities: Tensor, systematic: float = 0.0) -> tuple[Coverage, Tensor]:
    """Return one visibility for each pair of stations in each scan: its point (u, v), its sigma, and it, complex (K,).

    visibilities: complex (M,), jansky. systematic: f above, a share of each visibility; 0: thermal noise alone.
    Raises UnveilError where `scans_of` does.
    """
    scan = scans_of(coverage)
    names = {pair: k for k, pair in enumerate(sorted(set(coverage.pairs)))}
    cell = scan * len(names) + torch.tensor([names[pair] for pair in coverage.pairs])
    _, index, first = _cells(cell)
    weight = coverage.sigma.double() ** -2
    total = _sum(weight, index)

    def mean(t: Tensor) -> Tensor:
        return _sum(weight * t, index) / total

    values = torch.complex(mean(visibilities.real.double()), mean(visibilities.imag.double()))
    assert coverage.times is not None  # else there were no scans
    return (
        Coverage(
            mean(coverage.u.double()),
            mean(coverage.v.double()),
            (1 / total + (systematic * values.abs()) ** 2).sqrt(),
            tuple(coverage.pairs[i] for i in first.tolist()),
            mean(coverage.times.double()),
        ),
        values,
    )


def drop_short(coverage: Coverage, visibilities: Tensor, shortest: float) -> tuple[Coverage, Tensor]:
    """Return the visibilities of baselines of at least `shortest` wavelengths.

    Those of two stations of one site see all of a jet that is far wider than the image.
    Raises UnveilError where none is left.
    """
    kept = torch.hypot(coverage.u, coverage.v) >= shortest
    if not bool(kept.any()):
        raise UnveilError(f"no baseline is as long as {shortest:.3g} wavelengths: give a larger field of view")
    pairs = tuple(pair for pair, keep in zip(coverage.pairs, kept.tolist()) if keep)
    times = None if coverage.times is None else coverage.times[kept]
    return (
        replace(coverage, u=coverage.u[kept], v=coverage.v[kept], sigma=coverage.sigma[kept], pairs=pairs, times=times),
        visibilities[kept],
    )


def _cells(cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells, that of each entry, and the first entry of each."""
    cells, index = cell.unique(return_inverse=True)
    first = torch.full((len(cells),), len(cell)).scatter_reduce(0, index, torch.arange(len(cell)), "amin")
    return cells, index, first


def _sum(t: Tensor, index: Tensor) -> Tensor:
    return torch.zeros(int(index.max()) + 1, dtype=torch.float64).index_add(0, index, t)
