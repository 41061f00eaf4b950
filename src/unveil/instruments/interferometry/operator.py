"""Radio interferometry: every pair of stations measures one Fourier coefficient of a small patch of the sky.

    V(u, v) = sum_p x_p exp(-2 pi i (u l_p + v m_p))

x (1, H, W): brightness, jansky per pixel (times `brightness`, see below), a point at each pixel's centre. l grows to
the east and m to the north of the phase centre, which is the middle of the image, (H - 1) / 2, (W - 1) / 2. As on a map
of the sky, north is up and east is LEFT: with pixels of D = field_of_view / W radians,

    l = ((W - 1) / 2 - column) D,    m = ((H - 1) / 2 - row) D

The sign is that of Thompson, Moran & Swenson 2017 (https://doi.org/10.1007/978-3-319-44431-4, chapter 3), for a pair
(i, j) with V = <E_i E_j*> and (u, v) along r_j - r_i; a file that has (u, v) along r_i - r_j (UVFITS) is turned round
when read. Gains and phases of the stations are not part of A: visibilities must be calibrated.

y (2, 1, M): real and imaginary parts in jansky, rows of A and y multiplied by sigma / sigma_i so that the noise has one
level sigma (see `unveil.instruments.interferometry.coverage`). On disk: a complex .npy (N, 1, M), which opens with axes
NHW as N measurements (2, 1, M), or a real one (N, 2, 1, M); of visibilities passed through `whiten`, in either case.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.instruments.interferometry import InterferometrySection
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.stations import read_stations
from unveil.instruments.interferometry.uvfits import read_uvfits
from unveil.instruments.interferometry.uvtrack import uv_track
from unveil.operators.base import Coarser, Operator

__all__ = ["CUTOFF", "MICROARCSECOND", "Visibilities", "build_interferometry", "interferometry", "read_coverage"]

MICROARCSECOND = math.pi / 180 / 3600 * 1e-6
"""In radians."""
AT_ONCE = 1024
FEW = 2048
"""The smaller of 2 M and the number of pixels, up to which singular vectors take seconds and megabytes."""
SMALLEST = 1e-6
"""Singular values below this share of the largest count as 0; from eigenvalues in float64 they are known to 1e-8 of
it."""
CUTOFF = 0.003
"""A^+ leaves out singular values below this share of the largest: it amplifies noise by at most 1 / (CUTOFF s_max)."""


class Visibilities(Operator):
    """A: images (B, 1, H, W) -> (B, 2, 1, M), w_i times the exact Fourier sum at (u_i, v_i).

    It is taken as two products with phases.

    u, v: (M,) cycles per pixel along W and H. weight: (M,) the factor w_i. pixels: H = W. sigma: the noise level of y,
    in jansky.

    Where singular vectors are few enough, the proximal step is in closed form. Conjugate gradients would take hundreds
    of steps: thermal noise is a thousandth of the signal and some stations are a hundred times better than others, so
    that what few steps leave out is far above the noise.
    """

    kind = "interferometry"

    def __init__(self, u: Tensor, v: Tensor, weight: Tensor, pixels: int, sigma: float) -> None:
        self.u, self.v, self.weight, self.pixels = u, v, weight, pixels
        self.sigma: float = sigma
        self.image_shape, self.measurement_shape = (1, pixels, pixels), (2, 1, len(u))
        self.few = min(2 * len(u), pixels**2) <= FEW
        position = (pixels - 1) / 2 - torch.arange(pixels, dtype=torch.float64, device=u.device)
        across, down = (2 * math.pi * t.double()[:, None] * position for t in (u, v))
        w = weight.double()[:, None]
        self.cos_u, self.sin_u = w * across.cos(), w * across.sin()  # (M, W)
        self.cos_v, self.sin_v = down.cos(), down.sin()  # (M, H)

    def _phases(self, like: Tensor) -> list[Tensor]:
        return [t.to(like) for t in (self.cos_u, self.sin_u, self.cos_v, self.sin_v)]

    def _apply(self, x: Tensor) -> Tensor:
        cos_u, sin_u, cos_v, sin_v = self._phases(x)
        even, odd = cos_v @ x[:, 0], sin_v @ x[:, 0]  # (B, M, W)
        real = (even * cos_u - odd * sin_u).sum(-1)
        imaginary = -(even * sin_u + odd * cos_u).sum(-1)
        return torch.stack([real, imaginary], dim=1)[:, :, None]

    def _adjoint(self, y: Tensor) -> Tensor:
        cos_u, sin_u, cos_v, sin_v = self._phases(y)
        real, imaginary = y[:, 0, 0, :, None], y[:, 1, 0, :, None]  # (B, M, 1)
        even, odd = real * cos_u - imaginary * sin_u, real * sin_u + imaginary * cos_u
        return (cos_v.T @ even - sin_v.T @ odd)[:, None]

    def A_dagger(self, y: Tensor, **kwargs: object) -> Tensor:
        """Return A^+ y where all is measured, of the singular values of A above CUTOFF of the largest."""
        basis, squares = self._decomposition()
        kept = squares > CUTOFF**2 * squares[0]
        b = self.A_adjoint(y.double())
        x = (b.flatten(1) @ basis[:, kept]) / squares[kept] @ basis[:, kept].T
        return x.reshape(b.shape).to(y.dtype)

    def _decomposition(self) -> tuple[Tensor, Tensor]:
        """Return right singular vectors (H W, r) of A and the squares (r,) of its singular values, in float64.

        The largest first.

        Found once, from the smaller of A A^T and A^T A: seconds and 100 MB up to M of a thousand, 64 x 64 pixels.
        """
        if "decomposition" not in self.cache:
            self.cache["decomposition"] = self._decompose()
        basis, squares = self.cache["decomposition"]
        return basis, squares

    @torch.no_grad()
    def _decompose(self) -> tuple[Tensor, Tensor]:
        points = torch.arange(len(self.cos_u), device=self.cos_u.device).split(AT_ONCE)
        wide = 2 * len(self.cos_u) <= self.cos_v.shape[1] ** 2
        if wide:
            matrix = torch.cat([self._rows(which) for which in points])
            squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
        else:  # A itself may be too large to be kept
            squares, vectors = torch.linalg.eigh(sum((a := self._rows(which)).T @ a for which in points))
        kept = (squares > SMALLEST**2 * squares[-1]).nonzero().flatten().flip(0)
        squares, vectors = squares[kept], vectors[:, kept]
        return (matrix.T @ vectors / squares.sqrt() if wide else vectors), squares

    def _rows(self, which: Tensor) -> Tensor:
        """Return (2 k, H W): what A has for k of the points, real parts and then imaginary ones."""
        cos_u, sin_u = (t[which, None] for t in (self.cos_u, self.sin_u))  # (k, 1, W)
        cos_v, sin_v = (t[which, :, None] for t in (self.cos_v, self.sin_v))  # (k, H, 1)
        return torch.cat([cos_v * cos_u - sin_v * sin_u, -(cos_v * sin_u + sin_v * cos_u)]).flatten(1)

    def gram(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor | None:
        if not self.few or self.measured is not None:
            return None
        basis, squares = self._decomposition()
        flat = x.flatten(1).double()
        nothing, values = (
            function(e.reshape(1, -1, *[1] * (x.ndim - 2))).flatten(1) for e in (squares.new_zeros(1), squares)
        )
        return (nothing * flat + ((values - nothing) * (flat @ basis)) @ basis.T).reshape(x.shape).to(x.dtype)

    def inverse(self, b: Tensor, lambda_: Tensor) -> Tensor:
        if not self.few or self.measured is None:
            return super().inverse(b, lambda_)
        # A = P V^T with V orthonormal: all that M changes is P^T M P, of the rank of A
        basis, _ = self._decomposition()
        flat, w = b.flatten(1).double(), lambda_[:, None].double()
        seen = flat @ basis
        columns = self._apply(basis.T.reshape(-1, 1, *b.shape[-2:])).flatten(1)  # P^T (r, 2 M)
        mask = self.measured.expand(len(b), 2, 1, -1).flatten(1).to(flat)
        section = (columns * mask[:, None]) @ columns.T + torch.diag_embed(w.expand_as(seen))
        solved = torch.linalg.solve(section, seen)
        return (flat / w + (solved - seen / w) @ basis.T).reshape(b.shape).to(b.dtype)

    def prox_l2(self, z: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
        if not self.few:
            return super().prox_l2(z, y, gamma)
        # A^T y loses in single precision what A sees weakly: its error of 1e-7 of the whole is then divided by 1 /
        # gamma
        return super().prox_l2(z.double(), y.double(), gamma.double()).to(z.dtype)

    def coarser(self, k: int) -> Coarser:
        """Return the baselines that k times larger pixels are fine enough for."""
        if self.pixels % k:
            raise UnveilError(
                f"an image of {self.pixels}x{self.pixels} pixels cannot be dilated by {k}: use a factor of its sides"
            )
        short = torch.maximum(self.u.abs(), self.v.abs()) <= 0.5 / k
        if not bool(short.any()):
            raise UnveilError(f"no baseline is short enough for pixels {k} times as large: leave {k} out of the scales")
        # a large pixel stands for k^2 small ones; both sides over k, so that A is about as large as before and the
        # noise sigma / k
        operator = Visibilities(
            k * self.u[short], k * self.v[short], k * self.weight[short], self.pixels // k, self.sigma / k
        )
        return operator, lambda y: y[..., short.to(y.device)] / k


def interferometry(coverage: Coverage, pixels: int, field_of_view: float, brightness: float = 1.0) -> Visibilities:
    """Return the operator of images (1, pixels, pixels) seen at `coverage`; its y have one noise level, in jansky.

    field_of_view: width and height of the image, edge to edge, in microarcseconds.
    brightness: jansky per pixel that the value 1 of x stands for; the brightest pixel expected puts images in [0, 1].
    Raises UnveilError unless pixels, field_of_view and brightness are > 0 and the pixels are fine enough for the
    longest baseline: above half a cycle per pixel, u and v cannot be told from shorter ones.
    """
    if pixels < 1 or not (0 < field_of_view < math.inf and 0 < brightness < math.inf):
        raise UnveilError(
            f"pixels, field_of_view and brightness must be > 0, not {pixels}, {field_of_view} and {brightness}"
        )
    spacing = field_of_view * MICROARCSECOND / pixels
    longest = float(torch.maximum(coverage.u.abs(), coverage.v.abs()).max())
    if longest * spacing > 0.5:
        raise UnveilError(
            f"pixels of {field_of_view / pixels:.3g} microarcseconds are too coarse for baselines of {longest:.3g} "
            f"wavelengths: give at least {math.ceil(2 * longest * spacing * pixels)} pixels or a smaller field_of_view"
        )
    weight = brightness * coverage.level / coverage.sigma
    return Visibilities(coverage.u * spacing, coverage.v * spacing, weight, pixels, coverage.level)


def build_interferometry(section: InterferometrySection, shape: tuple[int, int, int], count: int) -> Visibilities:
    """Return the operator that a configuration describes, for measurements of `shape` (2, 1, M), whitened.

    Raises UnveilError when the coverage has another number of points than the measurements, and what its readers raise.
    """
    coverage, source = read_coverage(section)
    operator = interferometry(coverage, section.pixels, section.field_of_view, section.brightness)
    if shape != operator.measurement_shape:
        raise UnveilError(
            f"{source} has {len(coverage)} visibilities, and the measurements have shape {tuple(shape)}: they must be "
            f"(2, 1, {len(coverage)}), real and imaginary parts; store complex (N, 1, {len(coverage)}) with axes NHW"
        )
    return operator


def read_coverage(section: InterferometrySection) -> tuple[Coverage, str]:
    """Return the points (u, v) and the noise that a configuration describes, and which key says so."""
    if section.track is not None:
        options = section.track.model_dump(exclude={"stations"})
        return uv_track(read_stations(section.track.stations), **options), "operator.track"
    return read_uvfits(str(section.uvfits))[0], f"operator.uvfits: {section.uvfits}"
