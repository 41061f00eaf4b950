"""Closure phases and log closure amplitudes: what stations cannot corrupt.

    V_ij = g_i g_j* V(u_ij, v_ij) + n_ij     in each scan, g_i the unknown complex gain of a station

    closure phase of a triangle:               arg(V_ij V_jk V_ki)
    log closure amplitude of a quadrangle:     ln |V_ij V_kl / (V_ik V_jl)|

are those of the source, whatever the g_i are (Jennison 1958; Twiss, Carter and Little 1960). Both are linear in the
logarithm of V: integer (phases) or real (amplitudes) combinations that vanish on what stations add, the left null space
of the matrix that says which station is in which pair. All of it is taken once: as many independent quantities as the
scan has, with their covariance,

    r = C (ln V - ln V_model),    S = C diag(sigma^2 / |V|^2) C^T,    chi^2 = r^T S^-1 r

so that chi^2 does not depend on the set that was chosen (Blackburn et al. 2020,
https://doi.org/10.3847/1538-4357/ab8469). First order in sigma / |V|: visibilities below `CUT` sigma are left out.
ln |V| needs no debiasing: it is harmonic in the noise, so its mean is ln |V_true| but for noise that reaches 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unveil.instruments.interferometry.averages import scans_of
from unveil.instruments.interferometry.coverage import Coverage

__all__ = ["CUT", "Closures", "closures"]

CUT = 3.0
"""|V| / sigma of the visibilities that closure quantities are made of."""


@dataclass(frozen=True)
class Closures:
    """Independent closure quantities of visibilities, scan after scan.

    phases:     for each scan its visibilities (k,), the combinations C (q, k) and S^-1 (q, q).
    amplitudes: the same, of logarithms.
    observed:   the visibilities (M,), complex.
    """

    phases: tuple[tuple[Tensor, Tensor, Tensor], ...]
    amplitudes: tuple[tuple[Tensor, Tensor, Tensor], ...]
    observed: Tensor

    @property
    def counts(self) -> tuple[int, int]:
        """How many closure phases there are, and how many log closure amplitudes."""
        phases, amplitudes = (sum(len(c) for _, c, _ in group) for group in (self.phases, self.amplitudes))
        return phases, amplitudes

    def chi2(self, model: Tensor) -> tuple[Tensor, Tensor]:
        """Return reduced chi^2 of closure phases and of log closure amplitudes, (B,) each; NaN where there are none.

        model: complex (B, M), visibilities of images at the same points. Of the true source both are 1, with deviations
        (2 / count)^(1/2).
        """
        ratio = self.observed / model
        phase, size = ratio.angle(), ratio.abs().log()
        wrapped = [
            torch.remainder(phase[:, which] @ c.T + torch.pi, 2 * torch.pi) - torch.pi for which, c, _ in self.phases
        ]
        plain = [size[:, which] @ c.T for which, c, _ in self.amplitudes]
        sums = [
            sum((((r @ s) * r).sum(1) for r, (_, _, s) in zip(rows, group)), torch.zeros(len(model)).double())
            for rows, group in ((wrapped, self.phases), (plain, self.amplitudes))
        ]
        phases, amplitudes = (total / count for total, count in zip(sums, self.counts))
        return phases, amplitudes


def closures(coverage: Coverage, visibilities: Tensor) -> Closures:
    """Return the independent closure quantities of visibilities, complex (M,) in jansky, at `coverage`.

    Raises UnveilError where the coverage has no times or no stations.
    """
    scan, v = scans_of(coverage), visibilities.to(torch.complex128)
    relative = coverage.sigma.double() / v.abs()
    phases: list[tuple[Tensor, Tensor, Tensor]] = []
    amplitudes: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(int(scan.max()) + 1):
        which = ((scan == number) & (relative < 1 / CUT)).nonzero().flatten()
        pairs = [coverage.pairs[i] for i in which.tolist()]
        if not pairs:
            continue
        for group, c in ((phases, cycles(pairs)), (amplitudes, quotients(pairs))):
            if len(c):
                covariance = (c * relative[which] ** 2) @ c.T
                group.append((which, c, torch.linalg.inv(covariance)))
    return Closures(tuple(phases), tuple(amplitudes), v)


def cycles(pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Return independent closed walks (q, k) over pairs of stations: 1 along a pair, -1 against it, 0 elsewhere.

    Triangles as far as there are pairs for them: walks along a tree that grows from the station in most pairs.
    """
    names = sorted({name for pair in pairs for name in pair}, key=lambda name: -sum(name in pair for pair in pairs))
    paths: dict[str, Tensor] = {}  # from the root of its tree to each station
    in_tree: set[int] = set()
    for root in names:
        if root in paths:
            continue
        paths[root] = torch.zeros(len(pairs), dtype=torch.float64)
        reached = [root]
        for station in reached:
            for k, (i, j) in enumerate(pairs):
                for near, far, sign in ((i, j, 1.0), (j, i, -1.0)):
                    if near == station and far not in paths:
                        paths[far] = paths[station].clone()
                        paths[far][k] = sign
                        in_tree.add(k)
                        reached.append(far)
    rows = []
    for k, (i, j) in enumerate(pairs):
        if k not in in_tree:
            row = paths[i] - paths[j]
            row[k] += 1
            rows.append(row)
    return torch.stack(rows) if rows else torch.zeros(0, len(pairs), dtype=torch.float64)


def quotients(pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Return an orthonormal basis (q, k) of combinations of ln |V| that gains leave alone."""
    names = sorted({name for pair in pairs for name in pair})
    design = torch.zeros(len(pairs), len(names), dtype=torch.float64)
    for k, pair in enumerate(pairs):
        for name in pair:
            design[k, names.index(name)] = 1
    left, values, _ = torch.linalg.svd(design)
    rank = int((values > 1e-9 * values[0]).sum())
    return left[:, rank:].T
