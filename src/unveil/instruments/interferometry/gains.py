"""Complex gains of the stations, scan by scan, that bring visibilities to those of a model: self-calibration.

    min over g of  sum_ij |V_ij - g_i g_j* M_ij|^2 / sigma_ij^2 + sum_i (|g_i| - 1)^2 / spread^2

for the stations of one scan, M the visibilities of an image. With the others held, each g_i has a closed form; these
are taken in turns, halfway (StEFCal, Salvini and Wijnholds 2014, https://doi.org/10.1051/0004-6361/201424487). Phases
are free: the atmosphere's are random at 1.3 mm. The prior on amplitudes decides what closure quantities leave open,
where there are few stations.
"""

import torch
from torch import Tensor

from unveil.instruments.interferometry.averages import scans_of
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["SPREAD", "corrupt", "fit_gains"]

SPREAD = 0.2
"""Of |g| about 1, before the visibilities are seen."""
ROUNDS = 200


def fit_gains(coverage: Coverage, visibilities: Tensor, model: Tensor, spread: float = SPREAD) -> Tensor:
    """Return g_i g_j* (M,), complex, by which visibilities (M,) are divided to be calibrated, and sigma by its modulus.

    model: complex (M,), the visibilities that an image has at the points of `coverage`.
    Raises UnveilError where the coverage has no times or no stations.
    """
    first, second = stations_of(coverage)
    count = int(max(first.max(), second.max())) + 1
    v, m = visibilities.to(torch.complex128), model.to(torch.complex128)
    weight = coverage.sigma.double() ** -2
    g = torch.ones(count, dtype=torch.complex128)
    prior = spread**-2

    def add(t: Tensor, index: Tensor) -> Tensor:
        return torch.zeros(count, dtype=t.dtype).index_add(0, index, t)

    for _ in range(ROUNDS):
        a, b = g[second].conj() * m, g[first].conj() * m.conj()  # V = g_first a, V* = g_second b
        top = add(weight * a.conj() * v, first) + add(weight * b.conj() * v.conj(), second)
        below = add(weight * a.abs() ** 2, first) + add(weight * b.abs() ** 2, second)
        g = (g + (top + prior * g / g.abs()) / (below + prior)) / 2
    return g[first] * g[second].conj()


def corrupt(coverage: Coverage, visibilities: Tensor, generator: torch.Generator, spread: float = 0.1) -> Tensor:
    """Return visibilities (M,) with a random phase and a gain exp(N(0, spread^2)) for each station in each scan."""
    first, second = stations_of(coverage)
    count = int(max(first.max(), second.max())) + 1
    phase = 2 * torch.pi * torch.rand(count, generator=generator, dtype=torch.float64)
    size = (spread * torch.randn(count, generator=generator, dtype=torch.float64)).exp()
    g = torch.polar(size, phase)
    return visibilities * g[first] * g[second].conj()


def stations_of(coverage: Coverage) -> tuple[Tensor, Tensor]:
    """Return the numbers (M,) of the first and of the second station of each pair, others in each scan."""
    scan = scans_of(coverage)
    names = sorted({name for pair in coverage.pairs for name in pair})
    first, second = (torch.tensor([names.index(pair[k]) for pair in coverage.pairs]) for k in (0, 1))
    _, both = torch.cat([scan * len(names) + first, scan * len(names) + second]).unique(return_inverse=True)
    return both[: len(first)], both[len(first) :]
