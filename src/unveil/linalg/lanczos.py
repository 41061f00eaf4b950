"""The Lanczos process.

From k products M v it makes an orthonormal basis Q of span(z, M z, ..., M^k-1 z) in which

    Q M Q^T = T,  tridiagonal (k, k),    f(M) z ~ |z| Q^T f(T) e_1

for a symmetric M (G. Golub, G. Meurant 2010, Matrices, Moments and Quadrature, https://doi.org/10.1515/9781400833887).
The eigenvalues of T, Ritz values, lie between the extremes of M's and find these first.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["lanczos"]


def lanczos(
    apply: Callable[[Tensor], Tensor], project: Callable[[Tensor], Tensor], z: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return Q (k, *shape), the Ritz values (k,) ascending, their vectors in the basis Q as columns (k, k); k <= steps.

    apply: M v of v like z, symmetric. project: on a subspace that M maps to itself, and z lies in; rounding that leaves
    it would grow. z: the first direction, not zero. k is less than `steps` where the space is exhausted.
    """
    basis = (z / z.norm()).reshape(1, -1)
    diagonal: list[Tensor] = []
    off: list[Tensor] = []
    for _ in range(steps):
        w = apply(basis[-1].reshape(z.shape)).flatten()
        diagonal.append(w @ basis[-1])
        size = w.norm()
        for _ in range(2):  # once is not enough where rounding has spoiled orthogonality
            w = project((w - basis.mT @ (basis @ w)).reshape(z.shape)).flatten()
        beta = w.norm()
        if len(diagonal) == steps or not beta > 100 * torch.finfo(z.dtype).eps * size:
            break
        off.append(beta)
        basis = torch.cat([basis, (w / beta)[None]])
    t = torch.diag(torch.stack(diagonal))
    if off:
        t = t + torch.diag(torch.stack(off), 1) + torch.diag(torch.stack(off), -1)
    values, vectors = torch.linalg.eigh(t)
    return basis.reshape(-1, *z.shape), values, vectors
