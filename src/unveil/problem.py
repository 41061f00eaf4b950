"""The measurement y = A x + n, and what measurement space means.

Noise, risks and diffusion live on the measured entries of y alone; m counts those alone. A mask that merely zeroes
entries of a full-size y must therefore be declared here: an inner product that also ran over the entries never
measured would shift every risk by sigma^2 (1 - m / n).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.random import normal

__all__ = ["DENOISING", "Coarser", "Inverting", "Operator", "Problem", "Several"]


class Operator(Protocol):
    """What deepinv's `LinearPhysics` offers of A (https://deepinv.github.io); and, where an operator has it, `Inverting`."""

    def A(self, x: Tensor) -> Tensor: ...

    def A_adjoint(self, y: Tensor) -> Tensor: ...


@runtime_checkable
class Inverting(Protocol):
    """What an operator offers whose normal equations conjugate gradients solve badly."""

    def regularised_inverse(self, b: Tensor, lambda_: Tensor, measured: Tensor | None) -> Tensor:
        """(A^T M A + lambda I)^-1 b (B, *image), lambda (B,) > 0, M the projection to the `measured` entries, None for all."""
        ...


@dataclass(frozen=True)
class Problem:
    """y = A x + n on the measured entries, n white: every measured entry has the same noise level.

    operator:    A, linear, image (B, *image) -> measurement (B, *measurement); None is the identity. Its tensors follow the
                 device of what it is applied to.
    measured:    boolean, broadcastable to y (B, *measurement); None when every entry is measured.
    image_shape: shape of x without its batch axis; None when A is the identity (x then has the shape of y).
    measurement_shape: shape of y without its batch axis; None when A is the identity. Complex entries are two real channels.
    level:       sigma, in the units of y, where the instrument's description tells it; else None.
    coarsen:     of systems that measure Fourier coefficients, for `coarser`; None where there is no such thing.
    """

    operator: Operator | None = None
    measured: Tensor | None = None
    image_shape: tuple[int, ...] | None = None
    measurement_shape: tuple[int, ...] | None = None
    level: float | None = None
    coarsen: "Callable[[int], Coarser] | None" = None

    def __post_init__(self) -> None:
        if self.operator is not None and self.image_shape is None:
            raise UnveilError("a problem with an operator needs image_shape, the shape of x without its batch axis")

    def project(self, y: Tensor) -> Tensor:
        """y (B, *measurement) with the entries that are not measured set to zero."""
        return y if self.measured is None else y * self.measured.to(y)

    def at(self, which: Tensor) -> "Problem":
        """The problem of the measurements numbered `which` (B,): this one, for it has one operator for all."""
        return self

    def subset(self, indices: Sequence[int]) -> "Problem":
        """The problem of the measurements `indices`: this one."""
        return self

    def predict(self, x: Tensor) -> Tensor:
        """A x (B, *measurement) of the image x (B, *image), zero where nothing is measured."""
        return self.project(x if self.operator is None else self.operator_on(x).A(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y (B, *image) of y (B, *measurement), by the measured entries alone."""
        y = self.project(y)
        return y if self.operator is None else self.operator_on(y).A_adjoint(y)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """A^+ y (B, *image): the image of least norm among those that predict y best; or what the operator has in its place

        where that is slow or amplifies noise (its constructor says so); A^T y where A has no `A_dagger`.
        """
        y = self.project(y)
        if self.operator is None:
            return y
        operator = self.operator_on(y)
        return operator.A_dagger(y) if hasattr(operator, "A_dagger") else operator.A_adjoint(y)

    def operator_on(self, like: Tensor) -> "Operator":
        """The operator, its tensors on the device of `like`."""
        return self.operator.to(like.device) if isinstance(self.operator, torch.nn.Module) else self.operator  # type: ignore[return-value]

    def count(self, y: Tensor) -> Tensor:
        """m (B,): how many entries of each sample are measured."""
        return self.project(torch.ones_like(y)).flatten(1).sum(1)

    def inner(self, u: Tensor, v: Tensor) -> Tensor:
        """<u, v> / m (B,) over the measured entries of u and v (B, *measurement)."""
        return (self.project(u) * v).flatten(1).sum(1) / self.count(u)

    def coarser(self, k: int) -> "Coarser":
        """What y tells of the image with pixels k times as large. Raises UnveilError where A does not measure Fourier coefficients,
        or k does not divide the image's sides, or none is coarse enough.
        """
        if self.coarsen is None:
            raise UnveilError("only measurements of Fourier coefficients can be dilated: use dilation [1] here")
        _, height, width = self.image_shape or (0, 0, 0)
        if k < 1 or height % k or width % k:
            raise UnveilError(
                f"an image of {height}x{width} pixels cannot be dilated by {k}: use a factor of its sides"
            )
        return self.coarsen(k)

    def restrict(self, shown: Tensor) -> "Problem":
        """The problem of the measured entries that `shown` (boolean, broadcastable to y) selects too."""
        measured = shown if self.measured is None else self.measured.to(shown.device) & shown
        return Problem(self.operator, measured, self.image_shape, self.measurement_shape, self.level)

    def ones(self, y: Tensor) -> Tensor:
        """A 1 (B, *measurement): what an image of ones would measure."""
        shape = y.shape[1:] if self.image_shape is None else self.image_shape
        return self.predict(torch.ones(y.shape[0], *shape, dtype=y.dtype, device=y.device))

    def check_adjoint(self, y: Tensor, generator: torch.Generator, tolerance: float = 1e-4) -> None:
        """Raises UnveilError unless <A x, y> = <x, A^T y> up to `tolerance` of |A x| |y| for a random x and a y like `y`."""
        if self.operator is None:
            return
        shape = self.image_shape or tuple(y.shape[1:])
        x = normal(torch.empty(y.shape[0], *shape, dtype=y.dtype, device=y.device), generator)
        operator = self.operator_on(x)
        forward, v = operator.A(x), normal(y, generator)
        if forward.shape == y.shape:  # were v independent of A x, both products could be small by chance
            v = v + forward * (v.norm() / forward.norm().clamp_min(torch.finfo(y.dtype).tiny))
        back = operator.A_adjoint(v)
        if forward.shape != y.shape or back.shape != x.shape:
            raise UnveilError(
                f"the operator maps {tuple(x.shape)} to {tuple(forward.shape)} and back to {tuple(back.shape)}; "
                f"the data have shape {tuple(y.shape)}: check image_shape and the operator's arguments"
            )
        gap = ((forward * v).sum() - (x * back).sum()).abs()
        if not gap <= tolerance * forward.norm() * v.norm():  # NaN is wrong too
            raise UnveilError(
                f"the operator's adjoint is wrong: <A x, y> and <x, A^T y> differ by {gap:.2g}; mend A_adjoint"
            )


@dataclass(frozen=True)
class Coarser:
    """The low frequencies of y as measurements of an image of fewer and larger pixels, free of aliasing.

    problem: of that image x_k (B, C, H / k, W / k), whose values are in the units of x.
    take:    y (B, *measurement) -> y_k, whose noise has the level sigma / k, where that of y is sigma.
    """

    problem: Problem
    take: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Several:
    """Measurements that each have an operator of their own: a mask, a defocus.

    parameters: name -> (N, ...), one row for each of the N measurements.
    make: make(**rows (B, ...)) -> the `Problem` of a batch, whose operator applies row b to sample b.
    """

    parameters: Mapping[str, Tensor]
    make: Callable[..., Problem]

    def __post_init__(self) -> None:
        rows = {name: len(value) for name, value in self.parameters.items()}
        if not rows or len(set(rows.values())) > 1:
            raise UnveilError(f"several operators need parameters with one row per measurement, not {rows}")

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def at(self, which: Tensor) -> Problem:
        """The problem of the measurements numbered `which` (B,), on the device of `which`."""
        return self.make(
            **{name: value[which.to(value.device)].to(which.device) for name, value in self.parameters.items()}
        )

    def subset(self, indices: Sequence[int]) -> "Several":
        """The operators of the measurements `indices`, in that order."""
        chosen = torch.as_tensor(list(indices), dtype=torch.long)
        return Several({name: value[chosen.to(value.device)] for name, value in self.parameters.items()}, self.make)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        return self.at(torch.zeros(1, dtype=torch.long)).image_shape

    @property
    def measurement_shape(self) -> tuple[int, ...] | None:
        return self.at(torch.zeros(1, dtype=torch.long)).measurement_shape


DENOISING = Problem()
