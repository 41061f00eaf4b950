"""The part of an image that no measurement sees, whichever way the image is moved.

P x, P the projection on the eigenvectors of M = E_g[T_g^T A^T A T_g] below TOLERANCE times the largest eigenvalue
(`unveil.identifiability.spectrum`). Measurements alone teach nothing of it: in an estimate it is what the network
happened to make of it, and samples differ there as their first draws did.

Small problems by the matrix. Others by Lanczos from x itself: in the Krylov space of x, P x is the sum of the Ritz
vectors below the threshold, each by its part of x.
"""

import torch
from torch import Tensor

from unveil.identifiability.average import Average
from unveil.identifiability.spectrum import DENSE, STEPS, eigenvectors_never_seen, part_never_seen
from unveil.linalg import lanczos
from unveil.operators.base import Operator
from unveil.random import normal
from unveil.symmetry import Product, Symmetry

__all__ = ["Blind"]


class Blind:
    """Maps images x (B, C, H, W) to P x, like them, in as far as it is judged (`unveil.identifiability.average`).

    operator: of one measurement, or of all. symmetry: T_g; None: none is known. image_shape: (C, H, W). generator: of
    the draws; what is computed is computed on its device.
    """

    def __init__(
        self,
        operator: Operator,
        symmetry: Symmetry | None,
        image_shape: tuple[int, ...],
        generator: torch.Generator,
    ) -> None:
        group = Product() if symmetry is None else symmetry
        like = torch.empty(1, *image_shape, dtype=torch.float64, device=generator.device)
        average = Average(operator, group, like, generator)
        self.null: Tensor | None = None
        if float(average.n) ** 3 * len(average.g) <= DENSE:
            self.null = eigenvectors_never_seen(average)[2].float()
            return
        self.average = Average(operator, group, like.float(), generator)
        z = self.average.project(normal(self.average.like[0], generator))
        self.largest = float(lanczos(self.average, self.average.project, z, STEPS)[1][-1])

    def __call__(self, x: Tensor) -> Tensor:
        if self.null is not None:
            v = x.to(self.null)
            return (v.flatten(1) @ self.null.mT @ self.null).reshape(x.shape).to(x)
        return torch.stack([self._of(one) for one in x.to(self.average.like)]).to(x)

    def _of(self, x: Tensor) -> Tensor:
        z = self.average.project(x)
        if not bool(z.any()):
            return z
        return part_never_seen(z, lanczos(self.average, self.average.project, z, STEPS), self.largest)
