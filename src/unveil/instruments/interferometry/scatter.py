"""Is the noise that weights state that of the visibilities? Of one pair of stations in one scan, one after the other.

    r = median | |V_k+1| - |V_k| | / (sigma_k+1^2 + sigma_k^2)^(1/2) / .6745

is 1 where the visibilities are far above the noise, and .66 where they are far below (Rayleigh), whatever the phases
that the atmosphere gives them. Of the Event Horizon Telescope's files of M87* of 2017 it is .75 to .81.
"""

import torch
from torch import Tensor

from unveil.instruments.interferometry.averages import GAP
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["noise_line", "scatter"]

APART = 3.0
"""r, or 1 / r, from which the weights are not those of the visibilities."""
FEWEST = 50


def scatter(coverage: Coverage, visibilities: Tensor) -> float | None:
    """Return r of visibilities, complex (M,); None where too few follow one another, as of averages over scans."""
    if coverage.times is None or not coverage.pairs:
        return None
    numbers = {pair: k for k, pair in enumerate(sorted(set(coverage.pairs)))}
    pair = torch.tensor([numbers[one] for one in coverage.pairs])
    order = coverage.times.argsort(stable=True)
    order = order[pair[order].argsort(stable=True)]
    pair, times, size, sigma = (t[order] for t in (pair, coverage.times, visibilities.abs(), coverage.sigma.double()))
    next_to = (pair.diff() == 0) & (times.diff() > 0) & (times.diff() <= GAP)
    z = size.diff().abs() / torch.hypot(sigma[1:], sigma[:-1])
    return float(z[next_to].median()) / 0.6745 if int(next_to.sum()) >= FEWEST else None


def noise_line(coverage: Coverage, visibilities: Tensor) -> str | None:
    """Return a line where the visibilities scatter by far more, or far less, than their weights state; else None."""
    r = scatter(coverage, visibilities)
    if r is None or 1 / APART < r < APART:
        return None
    return (
        f"visibilities of one scan scatter {r:.2g} times as much as their weights state: these must be 1 / sigma^2, of "
        "the real and of the imaginary part each, in the units of the visibilities; export them so, or estimates and "
        "their errors are those of other noise"
    )
