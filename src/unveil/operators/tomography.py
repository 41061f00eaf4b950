"""Tomography with parallel rays: projections of a slice along lines at many angles.

    y_(d, t) = (1 / W) * integral of x along the line  u cos(theta_t) + v sin(theta_t) = d   + n

u to the right and v up from the centre, in pixels, and d along the detector. On deepinv's Radon transform: the image is
turned with bilinear interpolation and its columns are summed, as scikit-image's `radon` does. Dividing by the width W keeps
y in the units of x: an image of ones measures 1 along its rows and columns. The largest singular value of A is about
(T / W)^(1/2) for T angles. The turned grids are kept in memory, two numbers for each of D^2 T samples.

The adjoint is exact, by backpropagation (its sums have no fixed order on a GPU). The pseudo-inverse would take many
iterations and enhance the noise more, so that `A_dagger` is filtered back-projection instead (Kak and Slaney 1988, chapter 3,
https://doi.org/10.1137/1.9780898719277): A A_dagger A x is a few percent from A x.
"""

import math

import torch
from deepinv.physics import LinearPhysics, adjoint_function
from deepinv.physics.functional import Radon, RampFilter
from torch import Tensor
from torch.nn.functional import pad

from unveil.errors import UnveilError
from unveil.operators.files import read_real
from unveil.problem import Problem
from unveil.systems import TomographySystem

__all__ = ["build_tomography", "tomography"]


def tomography(angles: Tensor, width: int, detectors: int | None = None, channels: int = 1) -> Problem:
    """The problem of slices x (channels, width, width) from sinograms y (channels, detectors, T), y in the units of x.

    angles: theta (T,) in degrees, counterclockwise; at 0 the rays run down the columns of the image, and the first detector
    sees the first column. Filtered back-projection supposes that they divide 180 or 360 degrees equally.
    width: W of the image in pixels. With y = -log(I / I_0), x is the attenuation per W pixels: divide it by W for one pixel's.
    detectors: D >= W, one pixel apart, the axis of rotation in their middle. What lies outside the circle of diameter D about
    the centre is taken for empty. None: the fewest that see the whole square, with D - W even.
    Raises UnveilError for angles that are not (T,) and finite, a width below 2, fewer detectors than W, or D - W odd.
    """
    if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
        raise UnveilError(f"the angles have shape {tuple(angles.shape)}: they must be (T,), finite, in degrees")
    if width < 2:
        raise UnveilError(f"the width of the image is {width}: it must be at least 2 pixels")
    if detectors is None:
        detectors = width + 2 * math.ceil((math.sqrt(2) - 1) * width / 2)
    if detectors < width or (detectors - width) % 2:
        raise UnveilError(
            f"{detectors} detectors do not fit an image of {width} pixels: give a width of at most {detectors}, "
            "smaller by an even number, so that the axis of rotation is in the middle of both"
        )
    return Problem(
        _ParallelBeam(angles.double().cpu(), width, detectors),
        image_shape=(channels, width, width),
        measurement_shape=(channels, detectors, len(angles)),
    )


def build_tomography(system: TomographySystem, shape: tuple[int, int, int], count: int) -> Problem:
    """The problem that a configuration describes, for `count` measurements of `shape` (C, detectors, angles).

    Raises UnveilError when the angles are as many as no axis, or the width does not fit the detectors.
    """
    channels, detectors, number = shape
    if system.angles is None:
        angles = torch.arange(number, dtype=torch.float64) * 180 / number
    else:
        angles = torch.from_numpy(read_real(system.angles, "system.angles"))
        if angles.shape != (number,):
            raise UnveilError(
                f"system.angles: {system.angles} has shape {tuple(angles.shape)}, and the measurements are {detectors} detectors "
                f"x {number} angles; give {number} angles"
                + (", or transpose them" if angles.shape == (detectors,) else "")
            )
    return tomography(angles, system.width or detectors, detectors, channels)


class _ParallelBeam(LinearPhysics):
    """angles (T,) in degrees, float64. deepinv's `Tomography` is bound to one precision, and to the device it began on."""

    def __init__(self, angles: Tensor, width: int, detectors: int) -> None:
        super().__init__()
        self.angles, self.width, self.detectors = angles, width, detectors
        self.radon: Radon | None = None

    def A(self, x: Tensor) -> Tensor:
        margin = (self.detectors - self.width) // 2
        return self._transform(x)(pad(x, (margin, margin, margin, margin))) / self.width

    def A_adjoint(self, y: Tensor) -> Tensor:
        shape = (*y.shape[:2], self.width, self.width)
        return adjoint_function(self.A, shape, device=y.device, dtype=y.dtype)(y)

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(RampFilter(dtype=y.dtype)(y)) * (math.pi * self.width**2 / (2 * len(self.angles)))

    def _transform(self, like: Tensor) -> Radon:
        grids = None if self.radon is None else self.radon.all_grids
        if grids is None or grids.dtype != like.dtype or grids.device != like.device:
            # The sines and cosines are taken in float64, then rounded.
            self.radon = Radon(self.detectors, self.angles, circle=True, dtype=torch.float64).to(like)
        return self.radon
