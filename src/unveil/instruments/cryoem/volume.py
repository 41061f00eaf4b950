"""Cryo-EM volumes: a density x seen in projections from known directions, each moved and blurred by the microscope.

    F y_p(k) = CTF_p(k) exp(-2 pi i k . t_p) X(R_p^T (k_x, k_y, 0)),   |k| < 1/2,   X the Fourier transform of x

The Fourier slice theorem: x turned by R_p about its centre voxel D // 2 and summed along z has this Fourier transform,
a plane through X (De Rosier and Klug 1968, https://doi.org/10.1038/217130a0); R is RELION's matrix of a pose (Scheres
2012, https://doi.org/10.1016/j.jsb.2012.09.006). X between the points of the FFT of x, padded to twice its side, is the
sum over the 27 nearest of them in a window whose transform x is divided by beforehand (Barnett, Magland and af
Klinteberg 2019, https://doi.org/10.1137/18M120885X). That errs by 0.3% to 1% of |y|; linear interpolation would by 2%
to 10%. Frequencies beyond the circle |k| < 1/2, where a turned cube has no data, are zero in y.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.linalg import conjugate_gradients
from unveil.operators.base import Operator
from unveil.operators.linear import linear

__all__ = ["random_rotations", "relion_rotations", "volume"]

OVERSAMPLING = 2
WIDTH = 3
BETA = 6.25
"""Of the window exp(BETA ((1 - (2 d / WIDTH)^2)^(1/2) - 1)), d in points of the padded FFT. This BETA errs least over
the whole cube: at most 0.8% in amplitude, at its faces."""
POINTS = 2**18
"""How many values of X are interpolated at a time: bounds the memory to some 100 MB beyond that of X, x and y."""


class Projections(Operator):
    """A: x (B, 1, D, D, D), axes z, y, x -> y (B, P, D, D), and its exact transpose.

    rotations (P, 3, 3), on whose device it is; shifts (P, 2), transfer (1 or P, D, D), as `volume` says.
    """

    def __init__(self, size: int, rotations: Tensor, shifts: Tensor, transfer: Tensor) -> None:
        self.image_shape, self.measurement_shape = (1, size, size, size), (len(rotations), size, size)
        self.size, self.padded = size, OVERSAMPLING * size
        columns = size // 2 + 1
        frequencies = (f(size, 1 / size, device=rotations.device) for f in (torch.fft.fftfreq, torch.fft.rfftfreq))
        y, x = torch.meshgrid(*frequencies, indexing="ij")
        x, y = x.round().flatten(), y.round().flatten()
        inside = 4 * (x**2 + y**2) < size**2
        self.place = inside.nonzero()[:, 0]  # (K,), of the (D, D // 2 + 1) frequencies of an image
        self.frequencies = torch.stack([x, y], 1)[inside]  # (K, 2), cycles an image
        self.transfer = transfer.to(rotations.device)[..., :columns].flatten(1)[:, inside]
        self.rotations = rotations
        self.shifts = shifts.to(rotations.device)

    def _apply(self, x: Tensor) -> Tensor:
        """Return y (B, P, D, D), in units of x times a voxel's side."""
        return linear(x, self._project, self._project_back)

    def _adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y (B, 1, D, D, D)."""
        return linear(y, self._project_back, self._project)

    def A_dagger(self, y: Tensor, iterations: int = 30) -> Tensor:
        """Return the least squares image by so many steps of conjugate gradients from 0.

        Fewer amplify the noise less.
        """
        return conjugate_gradients(lambda x: self.A_adjoint(self.A(x)), self.A_adjoint(y), iterations, tolerance=1e-4)

    def _project(self, x: Tensor) -> Tensor:
        spectrum = self._pad(x[:, 0] / self._attenuation(x))
        spectrum = torch.fft.fftn(spectrum, dim=(1, 2, 3)).flatten(1)
        y = x.new_empty(len(x), len(self.rotations), self.size, self.size)
        for some in self._images():
            values = torch.zeros((), dtype=x.dtype, device=x.device)
            for index, weight in self._neighbours(some, x.dtype):
                values = values + weight * spectrum.index_select(1, index.flatten()).unflatten(1, index.shape)
            half = spectrum.new_zeros(*values.shape[:2], self.size * (self.size // 2 + 1))
            half[..., self.place] = values * self._factor(some, x.dtype)
            image = torch.fft.irfft2(half.unflatten(2, (self.size, -1)), s=(self.size, self.size))
            y[:, some] = torch.fft.fftshift(image, dim=(-2, -1))
        return y

    def _project_back(self, y: Tensor) -> Tensor:
        real, imaginary = y.new_zeros(2, len(y), self.padded**3)
        twice = torch.where(self.frequencies[:, 0] > 0, 2.0, 1.0).to(y.dtype)  # irfft2 counts k and -k
        for some in self._images():
            half = torch.fft.rfft2(torch.fft.ifftshift(y[:, some], dim=(-2, -1))).flatten(2)
            values = half[..., self.place] * self._factor(some, y.dtype).conj() * (twice / self.size**2)
            for index, weight in self._neighbours(some, y.dtype):
                places = index.flatten().expand(len(y), -1)
                real.scatter_add_(1, places, (weight * values.real).flatten(1))
                imaginary.scatter_add_(1, places, (weight * values.imag).flatten(1))
        cube = torch.complex(real, imaginary).unflatten(1, 3 * (self.padded,))
        x = self._crop(torch.fft.ifftn(cube, dim=(1, 2, 3), norm="forward").real)
        return (x / self._attenuation(y))[:, None]

    def _images(self) -> Iterator[slice]:
        step = max(1, POINTS // len(self.place))
        return (slice(first, first + step) for first in range(0, len(self.rotations), step))

    def _factor(self, some: slice, dtype: torch.dtype) -> Tensor:
        """Return CTF_p(k) exp(-2 pi i k . t_p), (p, K)."""
        phase = -2 * torch.pi / self.size * self.shifts[some].to(dtype) @ self.frequencies.to(dtype).T
        transfer = self.transfer if len(self.transfer) == 1 else self.transfer[some]
        return transfer.to(dtype) * torch.polar(torch.ones_like(phase), phase)

    def _neighbours(self, some: slice, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the 27 points of the padded FFT around each frequency of the images: index and weight, both (p, K)."""
        k = OVERSAMPLING * self.frequencies.to(dtype) @ self.rotations[some, :2].to(dtype)  # R^T (k_x, k_y, 0), as rows
        nearest = k.round()
        stride = self.padded ** torch.arange(3, device=k.device)  # of x, y, z
        indices, weights = [], []
        for step in range(-(WIDTH // 2), WIDTH // 2 + 1):
            indices.append(((nearest.long() + step).remainder(self.padded) * stride).unbind(-1))
            inside = (1 - ((k - nearest - step) * 2 / WIDTH) ** 2).clamp_min(0)
            weights.append(torch.exp(BETA * (inside.sqrt() - 1)).unbind(-1))
        for x, y, z in product(range(WIDTH), repeat=3):
            yield indices[x][0] + indices[y][1] + indices[z][2], weights[x][0] * weights[y][1] * weights[z][2]

    def _attenuation(self, like: Tensor) -> Tensor:
        """Return the window's Fourier transform, by which the interpolation multiplies the density, (D, D, D)."""
        r = torch.arange(self.size, dtype=like.dtype, device=like.device) - self.size // 2
        nodes, weights = (torch.from_numpy(v).to(r) for v in np.polynomial.legendre.leggauss(50))  # of the half window
        d = WIDTH / 4 * (1 + nodes)
        window = torch.exp(BETA * ((1 - (d * 2 / WIDTH) ** 2).sqrt() - 1)) * weights * WIDTH / 2
        along = torch.cos(2 * torch.pi / self.padded * r[:, None] * d) @ window
        return along[:, None, None] * along[:, None] * along

    def _pad(self, x: Tensor) -> Tensor:
        """Put x (B, D, D, D) into the padded cube, its centre voxel at index 0."""
        cube = x.new_zeros(len(x), *3 * (self.padded,))
        cube[:, : self.size, : self.size, : self.size] = x
        return cube.roll(3 * (-(self.size // 2),), (1, 2, 3))

    def _crop(self, cube: Tensor) -> Tensor:
        """Apply the transpose of `_pad`."""
        return cube.roll(3 * (self.size // 2,), (1, 2, 3))[:, : self.size, : self.size, : self.size]


def volume(size: int, rotations: Tensor, shifts: Tensor | None = None, transfer: Tensor | None = None) -> Projections:
    """Return the operator of a density x (1, D, D, D), axes z, y, x, from its projections y (P, D, D), axes p, y, x.

    size: D, voxels. rotations: (P, 3, 3), R_p that turns the molecule's axes (x, y, z) into the microscope's, whose z
    is the electrons' direction; `relion_rotations` makes them from angles. shifts: (P, 2), how far the centre lies from
    pixel D // 2 along x and y, pixels; none by default. In RELION it is minus rlnOriginXAngst, rlnOriginYAngst, by the
    pixel size. transfer: CTF_p as `unveil.instruments.cryoem.ctf` gives it, (D, D) or (P, D, D); 1 by default.
    `A_dagger` is least squares by 30 steps of conjugate gradients; of noisy y, fewer steps amplify the noise less:
    `A_dagger(y, 5)`. Raises UnveilError when a shape does not fit or a matrix is no rotation.
    """
    if size < 2 or rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or not len(rotations):
        raise UnveilError(f"volumes need a side >= 2 and rotations (P, 3, 3), not {size} and {tuple(rotations.shape)}")
    gap = (rotations @ rotations.mT - torch.eye(3).to(rotations)).abs().amax((1, 2))
    wrong = ~((gap < 1e-3) & (torch.linalg.det(rotations) > 0))  # NaN is wrong too
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0, 0])
        raise UnveilError(f"rotations[{first}] is no rotation: pass orthogonal matrices of determinant 1")
    count = len(rotations)
    shifts = rotations.new_zeros(count, 2) if shifts is None else shifts
    transfer = rotations.new_ones(1, size, size) if transfer is None else transfer
    transfer = transfer[None] if transfer.ndim == 2 else transfer
    if shifts.shape != (count, 2):
        raise UnveilError(
            f"shifts have shape {tuple(shifts.shape)}: pass (x, y) for each of {count} projections, ({count}, 2)"
        )
    if transfer.shape not in ((1, size, size), (count, size, size)):
        raise UnveilError(
            f"transfer has shape {tuple(transfer.shape)}: pass ({size}, {size}), or ({count}, {size}, {size}) for one "
            "a projection"
        )
    return Projections(size, rotations, shifts, transfer)


def relion_rotations(rot: Tensor, tilt: Tensor, psi: Tensor) -> Tensor:
    """Return R (P, 3, 3) for `volume`, in float64, from rlnAngleRot, rlnAngleTilt and rlnAnglePsi (P,), in degrees.

    R = Z(psi) Y(tilt) Z(rot), each turning the axes, not the molecule: first about z by rot, then about the new y by
    tilt, then about the new z by psi (Heymann, Chagoyen and Belnap 2005, https://doi.org/10.1016/j.jsb.2005.06.001;
    `Euler_angles2matrix` in https://github.com/3dem/relion/blob/master/src/euler.cpp). The matrix of the molecule's
    turn by these angles, as `Rotation.from_euler("ZYZ", ...)` of SciPy, is its transpose.
    Raises UnveilError unless the three have one shape (P,) and are finite.
    """
    angles = [torch.as_tensor(angle, dtype=torch.float64) for angle in (rot, tilt, psi)]
    shapes = {tuple(angle.shape) for angle in angles}
    if len(shapes) > 1 or angles[0].ndim != 1 or not all(bool(angle.isfinite().all()) for angle in angles):
        raise UnveilError(
            f"rot, tilt and psi have shapes {', '.join(str(tuple(angle.shape)) for angle in angles)}: pass degrees, "
            "finite, (P,) each"
        )
    (ca, cb, cg), (sa, sb, sg) = zip(*((angle.deg2rad().cos(), angle.deg2rad().sin()) for angle in angles))
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Draw R (count, 3, 3), uniform on SO(3).

    Of unit quaternions uniform on the sphere (Shoemake 1992, Graphics Gems III).
    """
    q = torch.randn(count, 4, generator=generator, device=generator.device)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)
