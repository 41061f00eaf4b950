"""The contract of an operator: y = A x + n on the entries that are measured.

Noise, losses and diffusion live on the measured entries of y alone; m counts those alone. A mask that merely zeroes
entries of a full-size y must therefore be declared as `measured`: an inner product that also ran over the entries never
measured would shift every loss by sigma^2 (1 - m / n).

An operator is of one measurement, and the same for all of a batch; or each measurement has one of its own (a mask, a
defocus): then tensors named in `rows` have one row for each, and `select` takes some of them.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from unveil.errors import UnveilError
from unveil.linalg import solve, spectral_norm
from unveil.random import make_generator, normal
from unveil.shapes import expand

__all__ = ["Coarser", "Operator"]

Coarser = tuple["Operator", Callable[[Tensor], Tensor]]
"""The operator of an image with larger pixels, and what makes its measurement of y (B, *measurement)."""


class Operator(ABC):
    """A, linear, from images (B, *image) to measurements (B, *measurement). The names of its methods are deepinv's.

    image_shape, measurement_shape: of x and y without their batch axis; None: any, that of the other.
    measured: boolean, broadcastable to y (B, *measurement); None where every entry is measured.
    sigma:    the noise level in the units of y, where the instrument's description tells it.
    projects: whether A^T A is a projection, whichever entries are measured.
    unseen:   the error of images in [0, 1] that no noise level explains, because A leaves something of them out; 0
        where it does not.
    picks:    whether each measured entry is the value of one pixel.
    averages: whether `coarser` takes means over blocks of pixels; else it keeps some entries, over k.
    kind:     of the instrument in `unveil.instruments.registry` whose settings suit its measurements; None: of none.
    rows:     the tensors that may have one row for each measurement; of one row they are common to all.
    """

    image_shape: tuple[int, ...] | None
    measurement_shape: tuple[int, ...] | None
    measured: Tensor | None = None
    sigma: float | None = None
    projects: bool = False
    picks: bool = False
    unseen: float = 0.05
    averages: bool = False
    kind: str | None = None
    rows: ClassVar[tuple[str, ...]] = ("measured",)
    cache: dict[str, Any]
    """What was computed from A on all entries, for all copies that `hide` and `select` make of a common operator."""
    _elsewhere: dict[str, Any]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        self = super().__new__(cls)
        self.cache, self._elsewhere = {}, {}
        return self

    def _like(self, **changes: Any) -> Self:
        """Return a copy with other values of these attributes."""
        part = copy.copy(self)
        part._elsewhere = {}
        for name, value in changes.items():
            setattr(part, name, value)
        return part

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor:
        """Return A x (B, *measurement), on the entries that are not measured whatever it may be."""

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y (B, *image) of a y that is zero where nothing is measured."""

    def A(self, x: Tensor) -> Tensor:
        """Return A x (B, *measurement) of the image x (B, *image), zero where nothing is measured."""
        return self.project(self._apply(x))

    def A_adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y (B, *image) of y (B, *measurement), by the measured entries alone."""
        return self._adjoint(self.project(y))

    def apart(self, y: Tensor) -> tuple["Operator", Tensor, Tensor, Tensor]:
        """Return A, y, and what an ideal camera beside it saw: t^(1/2) (B,) and t^(1/2) x_t (B, *image); 0 without one.

        See `unveil.operators.beside`.
        """
        return self, y, y.new_zeros(len(y)), self.image(y)

    def A_dagger(self, y: Tensor) -> Tensor:
        """Return A^+ y (B, *image), of least norm among the images that predict y best; or what serves in its place.

        That is A^T y unless the operator has better: exact where A^T A is a projection.
        """
        return self.A_adjoint(y)

    def rough_image(self, y: Tensor) -> Tensor:
        """Return an image (B, *image) of about the right scale, with little of the noise.

        That is A^T y over A's largest singular value squared.
        """
        return self.A_adjoint(y) / self.spectral_norm() ** 2

    def gram(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Return function(A^T A) x (B, *image) where the eigenvalues of A^T A are known, else None.

        function: eigenvalues, of any shape that broadcasts against (B, ...) -> the same, element by element.
        """
        if not self.projects:
            return None
        nothing, all_ = (function(torch.tensor(e, dtype=x.dtype, device=x.device)) for e in (0.0, 1.0))
        seen = self.A_adjoint(self.A(x))
        return nothing * (x - seen) + all_ * seen  # never the difference of the two, which may be 1e8 and 1

    def prox_l2(self, z: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
        """Return argmin_x gamma |A x - y|^2 / 2 + |x - z|^2 / 2 (B, *image).

        That is (A^T A + I / gamma)^-1 (A^T y + z / gamma).

        z: (B, *image). gamma: (B,) > 0. Differentiable in all three. In closed form where `gram` has one, else by
        conjugate gradients to a relative residual of 1e-4.
        """
        return z + self.ridge(y - self.A(z), 1 / gamma)  # what A does not see of z stays as it is

    def ridge(self, r: Tensor, lambda_: Tensor) -> Tensor:
        """Return A^T (A A^T + lambda I)^-1 r (B, *image) of r (B, *measurement), lambda (B,) > 0."""
        back = self.A_adjoint(r)
        return back / (1 + expand(lambda_, back)) if self.projects else self.inverse(back, lambda_)

    def inverse(self, b: Tensor, lambda_: Tensor) -> Tensor:
        """Return (A^T A + lambda I)^-1 b (B, *image), lambda (B,) > 0."""
        closed = self.gram(b, lambda e: 1 / (e + expand(lambda_, b)))
        return solve(self.normal(), b, lambda_) if closed is None else closed

    def normal(self) -> Callable[[Tensor], Tensor]:
        """Return what applies A^T A to images (B, *image): by A and A^T unless the operator has a shorter way."""
        return lambda x: self.A_adjoint(self.A(x))

    def project(self, y: Tensor) -> Tensor:
        """Return y (B, *measurement) with the entries that are not measured set to zero."""
        return y if self.measured is None else y * self.measured.to(y)

    def mean(self, y: Tensor) -> Tensor:
        """Return the mean (B,) over the measured entries of y (B, *measurement)."""
        if self.measured is None:
            return y.flatten(1).mean(1)
        return self.project(y).flatten(1).sum(1) / self.project(torch.ones_like(y)).flatten(1).sum(1)

    def ones(self, y: Tensor) -> Tensor:
        """Return A 1 (B, *measurement), what an image of ones would measure."""
        return self.A(torch.ones_like(self.image(y)))

    def image(self, y: Tensor) -> Tensor:
        """Return an empty image (B, *image), zero everywhere, for the measurements y (B, *measurement)."""
        return torch.zeros_like(y) if self.image_shape is None else y.new_zeros(len(y), *self.image_shape)

    def full_scan(self) -> tuple[Tensor, Tensor] | None:
        """Return what a scan that leaves nothing out would do to the noise; None where no such scan is meant.

        weight (B, 1, H, W): 1 / weight is the variance of each real part of its image of least squares, for noise of
        variance 1; 0 where nothing is seen. R (B,) >= 1: how many times more entries it measures. B may be 1 for all.
        """
        return None

    @property
    def count(self) -> int | None:
        """How many measurements have operators of their own; None where there is one for all."""
        lengths = [len(value) for name in self.rows if (value := getattr(self, name)) is not None]
        most = max(lengths, default=1)
        return most if most > 1 else None

    def select(self, which: Tensor) -> Self:
        """Return the operators of the measurements numbered `which` (B,), in that order."""
        if self.count is None:
            return self
        rows = {name: value for name in self.rows if (value := getattr(self, name)) is not None and len(value) > 1}
        return self._like(**{name: value[which.to(value.device)] for name, value in rows.items()})

    def hide(self, shown: Tensor) -> Self:
        """Return A on those of the measured entries alone that `shown` (boolean, broadcastable to y) selects."""
        return self._like(measured=shown if self.measured is None else self.measured.to(shown.device) & shown)

    def hidden_axes(self) -> tuple[int, ...] | None:
        """Return the axes of y along which single places are hidden in splitting.

        None where A leaves nothing to be found, and no pixel is faulty.

        A hidden entry must be as hard to fill in as those that A misses: whole columns where A misses whole columns.
        """
        mask = self.measured
        if not self.unseen and mask is None:
            return None
        if mask is None or mask.ndim < 3 or mask.shape[-1] == 1:
            return (-2, -1)
        columns = bool((mask == mask[..., :1, :]).all()) and not bool(mask.all())
        return (-1,) if columns else (-2, -1)

    def window(self, box: tuple[int, int, int, int]) -> "Operator | None":
        """Return A of a window (top, left, height, width) of the image from that window of y.

        None where y has no such windows.
        """
        return None

    def coarser(self, k: int) -> Coarser | None:
        """Return the operator of the image with pixels k times as large, and what makes its measurement.

        The measurement has k^2 times the exposure.

        None where y has no such part. Raises UnveilError where it has, but not for this k.
        """
        return None

    def to(self, device: torch.device | str) -> Self:
        """Return the operator with its tensors on `device`."""
        device = torch.device(device)
        moved = {name: _moved(value, device) for name, value in vars(self).items()}
        if all(value is getattr(self, name) for name, value in moved.items()):
            return self
        if str(device) not in self._elsewhere:
            self._elsewhere[str(device)] = self._like(**moved | {"cache": {}})
        return cast(Self, self._elsewhere[str(device)])

    def spectral_norm(self) -> float:
        """Return the largest singular value of A; of the first measurement's where there are several."""
        if self.projects or self.image_shape is None:
            return 1.0
        first = self.select(torch.zeros(1, dtype=torch.long)).to("cpu")
        x = torch.randn(1, *self.image_shape, generator=make_generator("cpu", 0))
        return spectral_norm(lambda v: first.A_adjoint(first.A(v)), x)

    def check_adjoint(self, y: Tensor, generator: torch.Generator, tolerance: float = 1e-4) -> None:
        """Raise UnveilError unless <A x, y> = <x, A^T y> for a random x and a y like `y`.

        Up to `tolerance` of |A x| |y|.
        """
        x = normal(self.image(y), generator)
        forward, v = self._apply(x), normal(y, generator)
        if forward.shape == y.shape:  # were v independent of A x, both products could be small by chance
            v = v + forward * (v.norm() / forward.norm().clamp_min(torch.finfo(y.dtype).tiny))
        back = self._adjoint(v)
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


def _moved(value: Any, device: torch.device) -> Any:
    """Return `value` on the device, if it has one.

    A module, which would move itself, stays where others have it.
    """
    if isinstance(value, nn.Module) and any(t.to(device) is not t for t in value.state_dict(keep_vars=True).values()):
        return copy.deepcopy(value).to(device)
    return value.to(device) if isinstance(value, Tensor | Operator) else value
