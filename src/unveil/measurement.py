"""A measurement: data, the operator that made them, and their noise. All that is known of a batch travels in it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.base import Noise
from unveil.noise.beside import Beside as BesideNoise
from unveil.noise.gaussian import Gaussian
from unveil.operators.base import Operator
from unveil.operators.beside import Beside
from unveil.shapes import check_images, expand, per_sample

__all__ = ["Estimator", "Measurement"]

ROUNDING = 1e-5
"""By which an exposure of 1 may come out above 1."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """A batch y = A x + n.

    y:        (B, *measurement), floating point; what is not measured becomes zero.
    operator: A, of all or of each of the B measurements. noise: of its measured entries, the same.
    m[rows] slices all three together. `with_gaps` takes NaN for entries that were not measured.

    >>> from unveil.noise import Poisson
    >>> from unveil.operators import Identity
    >>> y = torch.tensor([[3.0, 0.0, 5.0], [2.0, 8.0, 2.0]])  # photons
    >>> m = Measurement(y, Identity(), Poisson(1.0))
    >>> view, rest = m.recorrupt(torch.tensor([0.5, 0.5]), torch.Generator().manual_seed(0))
    >>> (view.y + rest.y) / 2  # two halves of the exposure, independent of one another
    tensor([[3., 0., 5.],
            [2., 8., 2.]])
    >>> str(view.noise), len(m[:1])
    ('gain 2', 1)
    """

    y: Tensor
    operator: Operator
    noise: Noise

    def __post_init__(self) -> None:
        check_images(self.y)
        object.__setattr__(self, "y", self.operator.project(self.y))

    @classmethod
    def with_gaps(cls, y: Tensor, operator: Operator, noise: Noise) -> Self:
        """Return the measurement of y (B, *measurement) whose NaN entries were not measured."""
        gaps = y.isnan()
        return cls(y.nan_to_num(0.0), operator.hide(~gaps), noise) if bool(gaps.any()) else cls(y, operator, noise)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor | slice) -> Self:
        which = torch.arange(len(self), device=self.y.device)[rows]
        return replace(self, y=self.y[which], operator=self.operator.select(which), noise=self.noise.select(which))

    def _repr_html_(self) -> str:
        from unveil.report.notebook import measurement_html  # which knows far more than this room

        return measurement_html(self)

    def to(self, device: torch.device | str) -> Self:
        return replace(self, y=self.y.to(device), operator=self.operator.to(device), noise=self.noise.to(device))

    @property
    def level(self) -> Tensor:
        """The deviation sigma (B,) of the noise, in the units of y.

        Of noise that depends on the signal, its root mean square.
        """
        return self.noise.level(self.y, self.operator.mean)

    def at(self, y: Tensor) -> Self:
        """Return the same of other data y (B, *measurement)."""
        return replace(self, y=y)

    def mean_square(self, r: Tensor) -> Tensor:
        """Return |r|^2 / m (B,) over the measured entries of r (B, *measurement)."""
        return self.operator.mean(r.square())

    def predict(self, x: Tensor) -> Tensor:
        """Return A x (B, *measurement) of the images x (B, *image)."""
        return self.operator.A(x)

    def noisier(self, t: Tensor, generator: torch.Generator) -> Self:
        """Draw what t (B,) times the exposure would have given, from y alone.

        Raises UnveilError unless 0 < t <= 1.
        """
        inside = (torch.as_tensor(t) > 0) & (torch.as_tensor(t) <= 1 + ROUNDING)
        if not bool(inside.all()):
            raise UnveilError(
                f"t is {float(torch.as_tensor(t)[~inside][0]):g}: of a measurement a share of its exposure can be "
                "taken, in (0, 1]"
            )
        return replace(self, y=self.noise.noisier(self.y, t, generator), noise=self.noise.exposed(t))

    def recorrupt(self, t: Tensor, generator: torch.Generator) -> tuple[Self, Self]:
        """Draw two views, independent given x: of exposure t (B,), 0 < t < 1, and what is left, of exposure 1 - t.

        Their exposures' mean is y: y = t y_t + (1 - t) y_rest.
        """
        view = self.noisier(t, generator)
        share = expand(per_sample(t, self.y, "t"), self.y)
        rest = (self.y - share * view.y) / (1 - share)
        return view, replace(self, y=rest, noise=self.noise.exposed(1 - t))

    def scaled(self, a: Tensor, mu: Tensor) -> Self:
        """Return the measurement a y + mu A 1 of the image a x + mu 1; a (B,) > 0, mu (B,) in the units of x.

        Where the noise depends on the signal mu is taken for 0: it would not be that of the brighter image.
        """
        y = expand(a, self.y) * self.y
        if self.noise.additive:
            y = y + expand(mu, self.y) * self.operator.ones(self.y)
        return replace(self, y=y, noise=self.noise.scaled(a))

    def coarser(self, k: int) -> Self | None:
        """Return the measurement of the image with pixels k times as large, at k^2 times the exposure.

        None where y has no such part; raises UnveilError for a k that does not fit.
        """
        found = self.operator.coarser(k)
        if found is None:
            return None
        operator, take = found
        if self.operator.averages:
            noise = self.noise.coarser(k)
        else:
            noise = self.noise.part(take) if self.noise.mapped else self.noise.exposed(k**2)
        return replace(self, y=take(self.y), operator=operator, noise=noise)

    def window(self, box: tuple[int, int, int, int]) -> Self | None:
        """Return the measurement of a window (top, left, height, width) of the image; None where y has no windows."""
        seen = self.operator.window(box)
        if seen is None:
            return None
        top, left, height, width = box
        y = self.y[..., top : top + height, left : left + width]
        return replace(self, y=y, operator=seen, noise=self.noise.window(box))

    def beside(self, x_t: Tensor, t: Tensor) -> "Measurement":
        """Return this measurement with that of an ideal camera beside it, x_t = x + t^(-1/2) w (B, *image), t (B,)."""
        operator = Beside(self.operator, t.sqrt(), self.y)
        camera = Gaussian(torch.ones((), dtype=self.y.dtype, device=self.y.device))
        return Measurement(operator.join(self.y, x_t), operator, BesideNoise(self.noise, camera, operator.entries))

    def apart(self) -> tuple["Measurement", Tensor, Tensor]:
        """Return the measurement without the camera, and of the camera t^(1/2) (B,), t^(1/2) x_t (B, *image).

        Both are 0 where there is none beside it.
        """
        operator, y, root, scaled = self.operator.apart(self.y)
        return self if operator is self.operator else Measurement(y, operator, self.noise.apart), root, scaled

    def hide(self, shown: Tensor) -> Self:
        """Return the measured entries that `shown` (boolean, broadcastable to y) selects, for splitting."""
        return replace(self, operator=self.operator.hide(shown))


Estimator = Callable[[Measurement], Tensor]
"""f(m) -> x_hat (B, *image), of each sample by itself."""
