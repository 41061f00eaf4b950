"""Gaussian noise that pixels or channels share: n = sigma L w, w ~ N(0, I), L known and linear, of mean variance 1.

    L w = P (s_0^(1/2) g * w + s_rows^(1/2) r 1^T + s_columns^(1/2) 1 c^T),     s_0 + s_rows + s_columns = 1

g * w is what a detector's blur, resampling or demosaicing makes of white noise (`unveil.noise.kernel`); r and c are one
draw for each row or column, the stripes of detectors that are read out line by line; P mixes the channels, or coils.
All of it is stationary, so that a window of noise is noise of a window. Nothing else is needed of it than draws n':

    y_t = y + (1 / t - 1)^(1/2) n',     y_rest = y - (t / (1 - t))^(1/2) n'

are independent given u, as those of white noise are (`unveil.noise.gaussian`), for n and n' have one covariance C. For
Stein's identity with this C, E[(y - u)^T h(y)] = E[tr(C J)], J = dh / dy, the probe is noise as well:

    e = s L w,     (sigma^2 / s^2) E[e^T (h(y + e) - h(y))] = sigma^2 E[w^T L^T J L w] + O(s^2) = tr(C J) + O(s^2)

What is known of the noise is used by the losses and by sampling; the network itself is told of the level alone, and
learns the rest, which is the same in all measurements. (ours)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from unveil.errors import UnveilError
from unveil.noise.base import SHORT, Mean, Noise
from unveil.noise.kernel import autocovariance, coarser_kernel, draw_stationary
from unveil.random import normal, signs
from unveil.shapes import expand, per_sample, times

__all__ = ["Correlated"]

LARGEST = 65
"""Sides of a kernel, in pixels: what correlates farther is no noise of a detector."""


@dataclass(frozen=True, eq=False)
class Correlated(Noise):
    """N(0, C) on every measured entry of y (B, C, H, W).

    sigma: the root of its mean variance, in the units of y, a number or one per sample (B,).
    kernel: g (h, w), or one per sample (B, h, w), in any units; None: 1, nothing is shared by neighbours.
    rows, columns: the shares of the variance that all pixels of a row, or of a column, have in common; like sigma.
    covariance: P P^T (C, C), of the channels, in any units; None: they are alike, and share nothing.
    Raises UnveilError unless sigma > 0, the shares are >= 0 and leave something, the kernel is finite and not 0, and
    the covariance is one.
    """

    sigma: float | Tensor
    kernel: Tensor | None = None
    rows: float | Tensor = 0.0
    columns: float | Tensor = 0.0
    covariance: Tensor | None = None
    additive = True
    white = False
    unknown = MappingProxyType({"sigma": (), "filter": (3, 3)})

    def __post_init__(self) -> None:
        self._positive("sigma", "the noise's standard deviation")
        for name in ("rows", "columns"):
            value = self._finite(name, "a share of the variance", "a share of the variance, in [0, 1)")
            if not bool(((value >= 0) & (value < 1)).all()):
                raise UnveilError(f"{name} is {float(value.flatten()[0]):g}: a share of the variance is in [0, 1)")
        if not bool((torch.as_tensor(self.rows) + self.columns < 1).all()):
            raise UnveilError("rows and columns are all of the variance: leave a share to the noise of single pixels")
        if self.kernel is not None:
            object.__setattr__(self, "kernel", unit_kernel(self.kernel))
        if self.covariance is not None:
            covariance, root = unit_covariance(self.covariance)
            object.__setattr__(self, "covariance", covariance)
            object.__setattr__(self, "_root", root)

    def __str__(self) -> str:
        parts = [f"sigma {float(torch.as_tensor(self.sigma).flatten()[0]):.4g}"]
        parts += [f"kernel {'x'.join(map(str, self._kernel.shape[-2:]))}"] if self._kernel[0].numel() > 1 else []
        for name in ("rows", "columns"):
            share = float(torch.as_tensor(getattr(self, name)).flatten()[0])
            parts += [f"{name} {share:.2g}"] if share else []
        parts += [] if self.covariance is None else [f"covariance of {len(self.covariance)} channels"]
        return ", ".join(parts)

    def sample(self, u: Tensor, generator: torch.Generator) -> Tensor:
        return u + expand(per_sample(self.sigma, u), u) * self.draw(u, generator)

    def exposed(self, t: float | Tensor) -> "Correlated":
        return self.scaled(torch.as_tensor(t) ** -0.5)

    def noisier(self, y: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        more = per_sample(1 / t - 1, y, "t").clamp_min(0).sqrt() * per_sample(self.sigma, y)
        return y + expand(more, y) * self.draw(y, generator)

    def scaled(self, a: float | Tensor) -> "Correlated":
        return replace(self, sigma=times(self.sigma, a))

    def coarser(self, k: int | Tensor) -> "Correlated":
        """Return the noise of means over k x k pixels, one k or one per sample (B,).

        What rows share is lessened by k, the rest by up to k^2, as far as its neighbours share it.
        """
        if isinstance(k, Tensor):
            return self._coarser_by_sample(k)
        kernel, left = coarser_kernel(self._kernel, k)
        left = left if len(left) > 1 else left[0]
        rows, columns = (torch.as_tensor(share).to(left) for share in (self.rows, self.columns))
        total = (1 - rows - columns) * left + (rows + columns) / k
        sigma = torch.as_tensor(self.sigma).to(total) * total.sqrt()
        return replace(self, sigma=sigma, kernel=kernel, rows=rows / k / total, columns=columns / k / total)

    def _coarser_by_sample(self, k: Tensor) -> "Correlated":
        k = k.to(self._kernel.device)
        parts = {scale: self.coarser(scale) for scale in k.unique().tolist()}
        size = [max(part._kernel.shape[axis] for part in parts.values()) for axis in (-2, -1)]
        values = {"kernel": k.new_zeros(len(k), *size).to(self._kernel)}
        values |= {name: values["kernel"].new_zeros(len(k)) for name in ("sigma", "rows", "columns")}
        for scale, part in parts.items():
            which = (k == scale).nonzero()[:, 0]
            part = part.select(which) if max(len(part._kernel), torch.as_tensor(part.sigma).numel()) > 1 else part
            for name in ("sigma", "rows", "columns"):
                values[name][which] = torch.as_tensor(getattr(part, name)).to(values[name])
            values["kernel"][which] = _padded(part._kernel, size)
        return replace(self, **values)

    @property
    def turns(self) -> bool:
        kernel = self._kernel
        alike = [autocovariance(kernel)]
        alike += [alike[0].flip(-1), alike[0].mT]
        square = kernel.shape[-1] == kernel.shape[-2]
        share = torch.as_tensor(self.rows) == self.columns
        return square and bool(share.all()) and all(torch.allclose(alike[0], r, atol=1e-4) for r in alike[1:])

    def variance(self, u: Tensor) -> Tensor:
        of_channels = 1.0 if self.covariance is None else self._mix(u).square().sum(1)[:, None, None]
        return (expand(per_sample(self.sigma, u), u) ** 2 * of_channels).expand_as(u)

    def sum_variance(self, r: Tensor, u: Tensor) -> Tensor:
        """Return the variance (B,) of sum_i r_i (y_i - u_i): |L^T r|^2 sigma^2, of each part of L by itself."""
        rows, columns = (per_sample(share, r, "the share") for share in (self.rows, self.columns))
        if self.covariance is not None:
            r = torch.einsum("cd,bchw->bdhw", self._mix(r), r)
        size = tuple(side + extent - 1 for side, extent in zip(r.shape[-2:], self._kernel.shape[-2:]))
        transfer = torch.fft.fft2(self._kernel.to(r)[:, None], s=size)
        single = (torch.fft.fft2(r, s=size) * transfer).abs().square().flatten(1).sum(1) / (size[0] * size[1])
        along = [r.sum(axis).square().flatten(1).sum(1) for axis in (-1, -2)]
        shared = (1 - rows - columns) * single + rows * along[0] + columns * along[1]
        return per_sample(self.sigma, r) ** 2 * shared

    def correlation(self, height: int, width: int) -> Tensor:
        """Return the correlation (N, N) of the N = height width pixels of a window; of the first sample's noise."""
        rows, columns = (float(torch.as_tensor(share).flatten()[0]) for share in (self.rows, self.columns))
        r = autocovariance(self._kernel[0].double()).cpu() * (1 - rows - columns)
        plane = _cut(r, 2 * height - 1, 2 * width - 1)
        plane[height - 1] += rows
        plane[:, width - 1] += columns
        down, across = ((torch.arange(side)[:, None] - torch.arange(side)) + side - 1 for side in (height, width))
        return plane[down[:, None, :, None], across[None, :, None]].reshape(height * width, height * width)

    def unmixed(self, y: Tensor) -> Tensor:
        if self.covariance is None:
            return y
        return torch.einsum("cd,bdhw->bchw", torch.linalg.pinv(self._mix(y), rtol=1e-3, hermitian=True), y)

    def draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw L w with the shape, dtype and device of `like` (B, C, H, W).

        Raises UnveilError for another shape, and another number of channels.
        """
        if like.ndim != 4:
            raise UnveilError(f"y has shape {tuple(like.shape)}: noise of neighbours and channels is of (B, C, H, W)")
        rows, columns = (per_sample(share, like, "the share") for share in (self.rows, self.columns))
        n = draw_stationary(self._kernel, like, generator)
        if bool((rows + columns > 0).any()):
            n = expand((1 - rows - columns).sqrt(), n) * n
            n = n + expand(rows.sqrt(), n) * normal(like[..., :1], generator)
            n = n + expand(columns.sqrt(), n) * normal(like[..., :1, :], generator)
        return n if self.covariance is None else torch.einsum("cd,bdhw->bchw", self._mix(like), n)

    def direction(self, y: Tensor, mean: Mean, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        s, w = expand(SHORT * per_sample(self.sigma, y), y), signs(y, generator)
        return s * w, w / s

    def spread(self, y: Tensor, z: Tensor) -> Tensor:
        rows, columns = (expand(per_sample(share, z, "the share"), z) for share in (self.rows, self.columns))
        r = autocovariance(self._kernel.to(z)).expand(len(z), -1, -1)
        reach = (r.shape[-2] // 2, r.shape[-1] // 2)
        alone = conv2d(z.transpose(0, 1), r[:, None], padding=reach, groups=len(z)).transpose(0, 1)
        shared = rows * z.sum(-1, keepdim=True) + columns * z.sum(-2, keepdim=True)
        c = (1 - rows - columns) * alone + shared
        if self.covariance is not None:
            root = self._mix(z)
            c = torch.einsum("cd,bdhw->bchw", root @ root.T, c)
        return expand(per_sample(self.sigma, z), z) ** 2 * c

    def learned(self, logs: Mapping[str, Tensor]) -> Self:
        """Return the noise times e^l, l = logs["sigma"], filtered by q = logs["filter"], but 1 in its middle.

        The shares of rows and columns stay as they are.
        """
        middle = torch.zeros_like(logs["filter"])
        middle[middle.shape[0] // 2, middle.shape[1] // 2] = 1
        q = torch.where(middle == 1, 1.0, logs["filter"])
        g = conv2d(self._kernel[:, None].to(q), q[None, None], padding=(q.shape[0] - 1, q.shape[1] - 1))[:, 0]
        norm = g.square().sum((-2, -1)).sqrt()
        norm = norm if len(norm) > 1 else norm[0]
        return replace(self, sigma=torch.as_tensor(self.sigma).to(q.device) * logs["sigma"].exp() * norm, kernel=g)

    def select(self, which: Tensor) -> Self:
        kernel = self._kernel[which.to(self._kernel.device)] if len(self._kernel) > 1 else self._kernel
        return replace(
            self, kernel=kernel, **{name: _rows(getattr(self, name), which) for name in ("sigma", "rows", "columns")}
        )

    def _straight(self, y: Tensor, mean: Mean, step: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        e = expand(step * per_sample(self.sigma, y), y) * self.draw(y, generator)
        return e, e / step**2

    @property
    def _kernel(self) -> Tensor:
        """The kernels (1 or B, h, w)."""
        if self.kernel is None:
            return torch.ones(1, 1, 1, device=torch.as_tensor(self.sigma).device)
        return self.kernel if self.kernel.ndim == 3 else self.kernel[None]

    def _mix(self, like: Tensor) -> Tensor:
        """Return P (C, C), like the data (B, C, ...)."""
        root: Tensor = vars(self)["_root"]
        if len(root) != like.shape[1]:
            raise UnveilError(
                f"noise.covariance is of {len(root)} channels, and the data have {like.shape[1]} (a complex one, as of "
                "a coil, counts as two): give that of the same channels"
            )
        return root.to(like)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        named = {name: getattr(self, name) for name in ("sigma", "kernel", "rows", "columns", "covariance")}
        changed: dict[str, Any] = {n: None if v is None else change(torch.as_tensor(v)) for n, v in named.items()}
        return replace(self, **changed)


def _rows(value: float | Tensor, which: Tensor) -> Tensor:
    value = torch.as_tensor(value)
    return value[which.to(value.device)] if value.numel() > 1 else value


def unit_kernel(kernel: Tensor) -> Tensor:
    """Return the kernel (h, w) or (B, h, w) of unit norm.

    Raises UnveilError for another shape, one too large, and numbers that are not finite or all 0.
    """
    kernel = torch.as_tensor(kernel)
    if kernel.ndim not in (2, 3) or not 0 < max(kernel.shape[-2:]) <= LARGEST:
        raise UnveilError(f"noise.kernel has shape {tuple(kernel.shape)}: give (h, w), up to {LARGEST} pixels a side")
    norm = kernel.double().square().sum((-2, -1), keepdim=True).sqrt()
    if not bool((norm.isfinite() & (norm > 0)).all()):
        raise UnveilError("noise.kernel must hold finite numbers that are not all 0: what makes the noise of white one")
    return (kernel / norm).to(kernel)


def unit_covariance(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return a covariance (C, C) of mean variance 1, and its symmetric root.

    Raises UnveilError unless it is square, finite, symmetric and positive.
    """
    c = torch.as_tensor(covariance)
    if c.ndim != 2 or c.shape[0] != c.shape[1]:
        raise UnveilError(f"noise.covariance has shape {tuple(c.shape)}: give one of the channels, (C, C)")
    if not bool(c.isfinite().all()) or not torch.allclose(c, c.T, rtol=1e-4, atol=1e-4 * float(c.abs().max())):
        raise UnveilError("noise.covariance must be finite and symmetric: give the covariance of the channels' noise")
    values, vectors = torch.linalg.eigh(c.double())
    if not float(values[0]) > -1e-6 * float(values[-1]) or not float(values[-1]) > 0:
        raise UnveilError("noise.covariance is no covariance: it has an eigenvalue below 0")
    scale = values.sum() / len(c)
    root = vectors * (values.clamp_min(0) / scale).sqrt() @ vectors.T
    return (c / scale.to(c)).to(c), root.to(c)


def _padded(kernel: Tensor, size: list[int]) -> Tensor:
    down, across = (side - own for side, own in zip(size, kernel.shape[-2:]))
    return pad(kernel, (across // 2, across - across // 2, down // 2, down - down // 2))


def _cut(r: Tensor, height: int, width: int) -> Tensor:
    """Return the middle (height, width), all sides odd, of r, with zeros around it where it is smaller."""
    for axis, side in ((-2, height), (-1, width)):
        more = (side - r.shape[axis]) // 2
        r = pad(r, (more, more) if axis == -1 else (0, 0, more, more))
    return r.clone()
