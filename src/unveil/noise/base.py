"""The contract of a noise family: what t times the exposure of a measurement would give.

Let exposure t = 1 be the measurement as it was taken, y ~ p(y | u) with E[y | u] = u = A x. A family says how y_t, of t
times the exposure, is distributed (`exposed`, `sample`), and how to take exposure away from what was measured
(`noisier`). Since

    y = t y_t + (1 - t) y_rest,     y_rest = (y - t y_t) / (1 - t)

with y_rest independent of y_t given u, of mean u and exposure 1 - t, all else follows, once for all families: losses,
sampling, levels below and above the measured one. With several samples each has a t of its own. The parameters of a
family are tensors, () or (B,), and are on the device of y; of a family with `maps` they may differ from pixel to pixel:
(1, C, H, W) or (B, C, H, W), of images of that size.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.noise.pattern import Pattern
from unveil.random import signs
from unveil.shapes import expand, times

__all__ = ["Mean", "Noise", "together"]

Mean = Callable[[Tensor], Tensor]
"""y (B, *measurement) -> its mean (B,) over the entries that are measured."""

SHORT = 0.01
"""Of a probe, in levels of the noise: short against the scale on which estimators bend, long against rounding."""


@dataclass(frozen=True, eq=False)
class Noise(ABC):
    """One family, its parameters known. All draws come from the generator that is passed.

    additive: whether the noise does not depend on the signal, so that y + mu 1 has the same.
    white: whether that of entries is independent of one another, given the signal.
    maps: whether parameters may differ from pixel to pixel.
    unknown: what training can learn of it (`learned`), and the shape of that: () for a parameter.
    """

    additive: ClassVar[bool] = False
    white: ClassVar[bool] = True
    maps: ClassVar[bool] = False
    unknown: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def __str__(self) -> str:
        """Return the parameters, as "sigma 0.1"; their range where they differ, as "sigma 0.1 to 0.3"."""
        return ", ".join(f"{field.name} {_range(getattr(self, field.name))}" for field in fields(self))

    @abstractmethod
    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a measurement y (B, ...) of the noiseless u (B, ...)."""

    @abstractmethod
    def exposed(self, t: float | Tensor) -> Self:
        """Return the noise at exposure t > 0, a number or (B,)."""

    @abstractmethod
    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Draw y_t (B, ...), at exposure t (B,) in (0, 1], from y (B, ...) alone."""

    @abstractmethod
    def scaled(self, a: float | Tensor) -> Self:
        """Return the noise of a y, for a > 0, a number or (B,)."""

    def coarser(self, k: int | Tensor) -> Self:
        """Return the noise of means over k x k pixels, one k or one per sample (B,): of k^2 times the exposure."""
        return self.exposed(k**2)

    @property
    def mapped(self) -> bool:
        """Return whether a parameter differs from pixel to pixel."""
        return self.size is not None

    @property
    def uneven(self) -> bool:
        """Return whether the deviation differs between entries, by the signal or the place: the network is shown it."""
        return self.mapped or not self.additive

    @property
    def pattern(self) -> Pattern | None:
        """Return the pattern that the detector has in its images and the scene has not; None of no map of it."""
        return None

    @property
    def corrected(self) -> "Noise":
        """Return the noise of images whose pattern was taken off."""
        return self

    @property
    def size(self) -> tuple[int, int] | None:
        """Return the height and width of the images that parameters are maps of; None where they are none."""
        values = [vars(self)[field.name] for field in fields(self)] if self.maps else []
        return next(((value.shape[2], value.shape[3]) for value in values if value.ndim == 4), None)

    @property
    def middle(self) -> Self:
        """Return the noise of the middle pixel, the median of each map of parameters."""
        return self._maps(lambda value: value.flatten(1).median(1).values)

    def window(self, box: tuple[int, int, int, int]) -> Self:
        """Return the noise of a window (top, left, height, width) of the image."""
        top, left, height, width = box
        return self._maps(lambda value: value[..., top : top + height, left : left + width])

    def part(self, take: Callable[[Tensor], Tensor]) -> Self:
        """Return the noise of the entries that `take` takes of y (B, *measurement), and scales."""
        return self._maps(take)

    def turned(self, turn: int) -> Self:
        """Return the noise of the image after turn % 4 quarter turns and, from 4 on, a flip of the columns."""
        return self._maps(lambda value: value.rot90(turn % 4, (2, 3)).flip([3] if turn >= 4 else []))

    @property
    def turns(self) -> bool:
        """Return whether the noise of a flipped or turned image is that of the image."""
        return True

    def shifted(self, mu: float) -> Self:
        """Return the noise of y + mu. Raises UnveilError for mu other than 0 where 0 is the dark, and cannot move."""
        if mu and not self.additive:
            raise UnveilError(
                f"the data begin at {-mu:g}, and 0 is the dark of {type(self).__name__} noise: give "
                "data.value_range=[0, ...], and subtract an offset first"
            )
        return self

    @abstractmethod
    def variance(self, u: Tensor) -> Tensor:
        """Return var(y | u) (B, ...)."""

    @property
    def log_variance(self) -> Tensor | None:
        """Return var(log y | u) (1,) or (B,), where it is the same for every u > 0, else None."""
        return None

    def correlation(self, height: int, width: int) -> Tensor | None:
        """Return the correlation (N, N) of the N = height width pixels of a window, in float64; None of white noise."""
        return None

    def unmixed(self, y: Tensor) -> Tensor:
        """Return y (B, C, H, W) mixed to as many channels whose noise shares nothing, if it is as this says."""
        return y

    def estimated_variance(self, y: Tensor) -> Tensor:
        """Return an unbiased estimate (B, ...) of var(y | u) from y: variance(y) itself, where that is affine in u."""
        return self.variance(y)

    @property
    def fixed_level(self) -> float | None:
        """Return the standard deviation where it is one number for all entries, else None.

        None where the signal or the place changes it.
        """
        return None

    @property
    def step(self) -> Tensor | None:
        """Return what all values of y are whole multiples of, () or (B,); None where they may be any."""
        return None

    @property
    def family(self) -> type["Noise"]:
        """Return the family; as of noise whose parameters are still to be found (`OwnNoise`)."""
        return type(self)

    def find(self, images: Iterable[Tensor], names: Sequence[str]) -> "Noise":
        """Return the noise of `images`, their pattern taken off: what is known; `OwnNoise` finds that of each."""
        return self.corrected

    def of(self, y: Tensor) -> "Noise":
        """Return the noise of the images y (B, ...), on their device, as `find` does."""
        return self.corrected.to(y.device)

    @property
    def apart(self) -> "Noise":
        """The noise without that of a camera beside it, `unveil.noise.beside`."""
        return self

    def level(self, y: Tensor, mean: Mean) -> Tensor:
        """Return the level sigma (B,) that an estimator is told: the root of the mean variance, in the units of y."""
        return mean(self.estimated_variance(y)).clamp_min(torch.finfo(y.dtype).tiny).sqrt()

    def stein(self, h: Callable[[Tensor], Tensor], y: Tensor, h_y: Tensor, mean: Mean, generator: torch.Generator,
              step: float | None = None) -> Tensor:  # fmt: skip
        """Return an estimate (B,) of E[(y - u)^T h(y)] / m, by one more pass of a differentiable h with h_y = h(y).

            E[(y_i - u_i) h_i(y)] = E[v_i dh_i / dy_i],    v = estimated_variance(y)

        is Stein's identity (1981, https://doi.org/10.1214/aos/1176345632), exact for Gaussian noise; of other families
        it is the first order in the noise of what each says. By Monte Carlo (Ramani, Blu and Unser 2008,
        https://doi.org/10.1109/TIP.2008.2001404): (v w)^T (h(y + s w) - h(y)) / s, w_i = +-1, has this mean up to
        O(s^2).

        step: s as a multiple of the level, to take the first order alone; small against the scale on which h bends,
            which is the noise's own; one pass. None: what the family knows best, which may scatter more.
        """
        e, weight = self.probe(y, mean, generator) if step is None else self._straight(y, mean, step, generator)
        return mean(weight * (h(y + e) - h_y))

    def probe(self, y: Tensor, mean: Mean, generator: torch.Generator, most: float = math.inf) -> tuple[Tensor, Tensor]:
        """Draw the probe of `stein`: e and weights w, each like y, of which w (h(y + e) - h(y)) has the mean, by entry.

        The covariance of e is a small share of the noise's: the family's own, or `most` where that is less, which
        leaves less bias and more scatter.
        """
        return self._straight(y, mean, min(SHORT, math.sqrt(most)), generator)

    def sum_variance(self, r: Tensor, u: Tensor) -> Tensor:
        """Return the variance (B,) of sum_i r_i (y_i - u_i), given u; r, u (B, *measurement). That is r^T C r."""
        return (self.variance(u).clamp_min(0) * r.square()).flatten(1).sum(1)

    def _straight(self, y: Tensor, mean: Mean, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the probe of Stein's identity, +-step in levels."""
        s = expand(step * self.level(y, mean), y)
        w = signs(y, generator)
        return s * w, self.estimated_variance(y) * w / s

    def direction(self, y: Tensor, mean: Mean, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw e and z, each like y, of which E[(C z)^T (h(y + e) - h(y))] estimates E[(y - u)^T h(y)].

        C z: `spread`, of noise that may differ from this in its variance, or covariance: z does not depend on it.
        """
        e, weight = self.probe(y, mean, generator)
        v = self.estimated_variance(y)
        return e, torch.where(v == 0, 0.0, weight / v)

    def spread(self, y: Tensor, z: Tensor) -> Tensor:
        """Return C z (B, ...), C an unbiased estimate from y of the covariance of y given u."""
        return self.estimated_variance(y) * z

    def learned(self, logs: Mapping[str, Tensor]) -> Self:
        """Return the noise with each parameter that is `unknown` times e^l, l = logs[its name]."""
        changed = {name: times(torch.as_tensor(getattr(self, name)), logs[name].exp()) for name in self.unknown}
        return replace(self, **changed)

    def select(self, which: Tensor) -> Self:
        """Return the noise of the samples numbered `which` (B,)."""
        return self._each(lambda value: value[which.to(value.device)] if value.ndim and len(value) > 1 else value)

    def to(self, device: torch.device | str) -> Self:
        """Return the noise with its parameters on `device`."""
        return self._each(lambda value: value.to(device))

    def _positive(self, name: str, meaning: str) -> None:
        """Keep the parameter `name` as a tensor, (B, 1, 1, 1) as (B,).

        Raises UnveilError unless all of it is finite and > 0.
        """
        value = self._finite(name, meaning, "finite and > 0")
        if not bool((value > 0).all()):
            raise UnveilError(f"{name} must be finite and > 0, not {float(value[value <= 0][0]):g}: give {meaning}")

    def _finite(self, name: str, meaning: str, must: str = "finite") -> Tensor:
        """Keep the parameter `name` as a tensor, (B, 1, 1, 1) as (B,), and return it.

        Raises UnveilError unless all of it is finite.
        """
        value = torch.as_tensor(getattr(self, name))
        value = value.flatten() if value.ndim > 1 and value.numel() == len(value) else value
        if self.maps and value.ndim in (2, 3):
            value = value[None, None] if value.ndim == 2 else value[None]
        if value.ndim > 1 and not (self.maps and value.ndim == 4):
            raise UnveilError(f"{name} has shape {tuple(value.shape)}: pass one number or one value per sample")
        if not bool(value.isfinite().all()):
            wrong = float(value[~value.isfinite()][0])
            raise UnveilError(f"{name} must be {must}, not {wrong:g}: give {meaning}")
        object.__setattr__(self, name, value)
        return value

    def _maps(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self._each(lambda value: change(value) if value.ndim == 4 else value) if self.mapped else self

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{field.name: change(getattr(self, field.name)) for field in fields(self)})


def _range(value: Tensor) -> str:
    low, high = f"{float(value.min()):.4g}", f"{float(value.max()):.4g}"
    return low if low == high else f"{low} to {high}"


Family = TypeVar("Family", bound=Noise)


def together(noises: Sequence[Family]) -> Family:
    """Return the noise of the samples of several, one family's with a value for each sample, in a row."""
    rows = {field.name: [getattr(noise, field.name) for noise in noises] for field in fields(noises[0])}
    return replace(
        noises[0], **{name: torch.cat([v if v.ndim else v[None] for v in values]) for name, values in rows.items()}
    )
