"""Tomography with parallel rays: projections of a slice along lines at many angles.

    y_(d, t) = (1 / W) * integral of x along the line  u cos(theta_t) + v sin(theta_t) = d   + n

u to the right and v up from the axis of rotation, in pixels, and d along the detector. The image is turned with
bilinear interpolation and its columns are summed, as scikit-image's `radon` does. Dividing by the width W keeps y in
the units of x: an image of ones measures 1 along its rows and columns. The largest singular value of A is about (T /
W)^(1/2) for T angles. The turned grids are kept in memory, two numbers for each of D^2 T samples.

Where the axis of rotation is, in pixels from the middle of the first, on the detector of D pixels and in the image:

    centre        (D - 1) / 2 and (W - 1) / 2, the middle of both
    astra         the same; its angles are in radians (genParProjections in
                  https://github.com/astra-toolbox/astra-toolbox/blob/master/src/GeometryUtil2D.cpp)
    tomopy        the same, of its projector and its iterative algorithms without `center` (preprocessing in
                  https://github.com/tomopy/tomopy/blob/master/source/libtomo/recon/utils.c); angles in radians. The
                  center that it finds, and that gridrec takes, is the number of a pixel; what the iterative algorithms
                  take is 1 / 2 more
    scikit-image  D // 2 and W // 2, half a pixel from the middle where D and W are even
                  (https://scikit-image.org/docs/stable/api/skimage.transform.html#skimage.transform.radon)
    a number      on the detector; the middle of the image

astra and tomopy store (angles, detectors); here it is (detectors, angles).

The adjoint is exact, by backpropagation (its sums have no fixed order on a GPU), and each is the other's gradient. The
pseudo-inverse would take many iterations and enhance the noise more, so that `A_dagger` is filtered back-projection
instead (Kak and Slaney 1988, chapter 3, https://doi.org/10.1137/1.9780898719277): A A_dagger A x is a few percent from
A x.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from unveil.errors import UnveilError, warn
from unveil.instruments.files import read_real
from unveil.instruments.tomography import Axis, TomographySection
from unveil.operators.base import Operator
from unveil.operators.linear import linear

__all__ = ["ParallelBeam", "build_tomography", "tomography"]


def tomography(
    angles: Tensor, width: int, detectors: int | None = None, channels: int = 1, axis: Axis = "centre"
) -> "ParallelBeam":
    """Return the operator of slices x (channels, width, width) from sinograms y (channels, detectors, T).

    y is in the units of x.

    angles: theta (T,) in degrees, counterclockwise; at 0 the rays run down the columns of the image, and the first
        detector sees the first column. Filtered back-projection supposes that they divide 180 or 360 degrees equally.
    width: W of the image in pixels. With y = -log(I / I_0), x is the attenuation per W pixels: divide it by W for one
        pixel's.
    detectors: D >= W, one pixel apart. What lies farther from the axis of rotation than the detector's farther end is
        taken for empty. None: the fewest that see the whole square, with D - W even.
    axis: where the axis of rotation is, see above.
    Raises UnveilError for angles that are not (T,) and finite, a width below 2, fewer detectors than W, an axis beside
    the detector, or D - W odd where the axis is in the middle of both.
    """
    if angles.ndim != 1 or not len(angles) or not bool(angles.isfinite().all()):
        raise UnveilError(f"the angles have shape {tuple(angles.shape)}: they must be (T,), finite, in degrees")
    if width < 2:
        raise UnveilError(f"the width of the image is {width}: it must be at least 2 pixels")
    if detectors is None:
        detectors = width + 2 * math.ceil((math.sqrt(2) - 1) * width / 2)
    central = axis in ("centre", "astra", "tomopy")
    if detectors < width or (central and (detectors - width) % 2):
        raise UnveilError(
            f"{detectors} detectors do not fit an image of {width} pixels: give a width of at most {detectors}, "
            "smaller by an even number, so that the axis of rotation is in the middle of both"
        )
    place, centre = (detectors - 1) / 2, (width - 1) / 2
    if axis == "scikit-image":
        place, centre = detectors // 2, width // 2
    elif not isinstance(axis, str):
        place = float(axis)
        if not 0 <= place <= detectors - 1:
            raise UnveilError(
                f"the axis of rotation is at pixel {place:g} of {detectors} detectors: give a number from 0 to "
                f"{detectors - 1}"
            )
    return ParallelBeam(angles.double().cpu(), width, detectors, channels, place, centre)


def build_tomography(section: TomographySection, shape: tuple[int, int, int], count: int) -> "ParallelBeam":
    """Return the operator that a configuration describes, for `count` measurements of `shape` (C, detectors, angles).

    Raises UnveilError when the angles are as many as no axis, or the width does not fit the detectors.
    """
    channels, detectors, number = shape
    if section.angles is None:
        angles = torch.arange(number, dtype=torch.float64) * 180 / number
    else:
        angles = torch.from_numpy(read_real(section.angles, "operator.angles"))
        if angles.shape != (number,):
            raise UnveilError(
                f"operator.angles: {section.angles} has shape {tuple(angles.shape)}, and the measurements are "
                f"{detectors} detectors x {number} angles; give {number} angles"
                + (", or transpose them: exchange H and W in data.axes" if angles.shape == (detectors,) else "")
            )
        if len(angles) >= 8 and float(angles.abs().max()) <= 2 * math.pi:
            warn(
                f"operator.angles: {section.angles} goes up to {float(angles.abs().max()):.3g} degrees, so that they "
                "look like radians; save np.rad2deg of them if they are"
            )
    return tomography(angles, section.width or detectors, detectors, channels, section.axis)


class ParallelBeam(Operator):
    """angles (T,) in degrees, float64. axis, centre: of the rotation, on the detector and in the image, pixels.

    deepinv's `Tomography` is bound to one precision, to the device it began on, and to an axis in the middle.
    """

    kind = "tomography"

    def __init__(self, angles: Tensor, width: int, detectors: int, channels: int, axis: float, centre: float) -> None:
        self.image_shape, self.measurement_shape = (channels, width, width), (channels, detectors, len(angles))
        self.angles, self.width, self.detectors, self.axis, self.centre = angles, width, detectors, axis, centre
        self.radius = max(axis, detectors - 1 - axis)
        self.grid: Tensor | None = None

    def _apply(self, x: Tensor) -> Tensor:
        return linear(x, self._project, self._project_back)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear(y, self._project_back, self._project)

    def _project(self, x: Tensor) -> Tensor:
        place = torch.arange(self.width, device=x.device, dtype=x.dtype) - self.centre
        seen = place.square()[:, None] + place.square() <= self.radius**2
        grid = self._grid(x).expand(len(x), -1, -1, -1)
        turned = grid_sample(x * seen, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        return turned.sum(-1).unflatten(-1, (len(self.angles), self.detectors)).mT / self.width

    def _project_back(self, y: Tensor) -> Tensor:
        with torch.enable_grad():
            x = torch.zeros_like(self.image(y), requires_grad=True)
            (back,) = torch.autograd.grad(self._project(x), x, y)
        return back

    def A_dagger(self, y: Tensor) -> Tensor:
        from deepinv.physics.functional import RampFilter  # deepinv loads late

        filtered = RampFilter(dtype=y.dtype)(self.project(y))
        return self.A_adjoint(filtered) * (math.pi * self.width**2 / (2 * len(self.angles)))

    def rough_image(self, y: Tensor) -> Tensor:
        return self.A_dagger(y)

    def _grid(self, like: Tensor) -> Tensor:
        """Return (1, T D, S, 2): columns and rows of S points, a pixel apart, on each ray.

        -1 and 1 are the image's outermost pixels.
        """
        if self.grid is None or self.grid.dtype != like.dtype or self.grid.device != like.device:
            theta = torch.deg2rad(self.angles)[:, None, None]
            d = torch.arange(self.detectors).to(theta)[:, None] - self.axis
            s = torch.arange(math.floor(2 * self.radius) + 1).to(theta) - self.radius
            u, v = d * theta.cos() - s * theta.sin(), d * theta.sin() + s * theta.cos()
            places = torch.stack([self.centre + u, self.centre - v], -1).flatten(0, 1)[None]
            self.grid = (2 * places / (self.width - 1) - 1).to(like)
        return self.grid
